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
    from safedeploy.bench.profiles import list_profiles
    from safedeploy.export.targets import Target, list_targets

    found: dict[str, Target | DeviceProfile]
    if name is not None and not Path(name).is_dir():
        _show(_one(name, devices=devices), json=json)
        return
    if name is not None:
        found = _in_folder(Path(name), devices=devices)
    elif devices:
        found = dict(list_profiles())
    else:
        found = {target.name: target for target in list_targets()}
    _list(found, json=json)


def _one(name: str, *, devices: bool) -> "Target | DeviceProfile":
    """By name or by file; a file's content says which of the two it is."""
    from safedeploy.bench.profiles import is_profile, list_profiles, load_profile
    from safedeploy.errors import unknown
    from safedeploy.export.targets import is_path, list_targets, load_target
    from safedeploy.typed_toml import read_toml

    if is_path(name):
        return load_profile(name) if devices or is_profile(read_toml(Path(name), "target")) else load_target(name)
    profiles, own = list_profiles(), {} if devices else {target.name: target for target in list_targets()}
    if name in own:
        return own[name]
    if name in profiles:
        return profiles[name]
    raise unknown("device" if devices else "target or device", name, [*own, *profiles])


def _in_folder(folder: Path, *, devices: bool) -> "dict[str, Target | DeviceProfile]":
    from safedeploy.errors import UserError

    found = {path.name: _one(str(folder / path.name), devices=devices) for path in sorted(folder.glob("*.toml"))}
    if not found:
        raise UserError(f"{folder} holds no .toml file; give a folder of targets or devices")
    return found


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
