"""`safedeploy targets`: what a run can be exported for, and the devices that are known."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safedeploy.cli import options as o

if TYPE_CHECKING:
    from safedeploy.bench.profiles import DeviceProfile
    from safedeploy.export.targets import Target


def targets(
    name: Annotated[
        str | None, typer.Argument(help="A target or device by name, your own file, or a folder of such files.")
    ] = None,
    devices: Annotated[bool, typer.Option("--devices", help="List phones and boards instead.")] = False,
    json: o.JsonOption = False,
) -> None:
    """List the deployment targets or the known devices, or show one in full. A file of your own is checked."""
    from safedeploy.known import find, in_folder, known

    if name is not None and not Path(name).is_dir():
        _show(find(name, devices=devices), json=json)
    else:
        _list(known(devices=devices) if name is None else in_folder(Path(name), devices=devices), json=json)


def _show(one: "Target | DeviceProfile", *, json: bool) -> None:
    from safedeploy.cli.show import print_json
    from safedeploy.cli.show_targets import show_profile, show_target
    from safedeploy.export.targets import Target

    if json:
        print_json(one.model_dump(mode="json"))
    elif isinstance(one, Target):
        show_target(one)
    else:
        show_profile(one)


def _list(found: "dict[str, Target | DeviceProfile]", *, json: bool) -> None:
    from safedeploy.cli.show import print_json
    from safedeploy.cli.show_targets import show_profiles, show_targets
    from safedeploy.export.targets import Target

    if json:
        print_json([{"id": key, **one.model_dump(mode="json")} for key, one in found.items()])
        return
    own = {key: one for key, one in found.items() if isinstance(one, Target)}
    profiles = {key: one for key, one in found.items() if not isinstance(one, Target)}
    if own:
        show_targets(own)
    if profiles:
        show_profiles(profiles)
