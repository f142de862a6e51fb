"""Deployment targets and devices: those that come with safedeploy, and a user's own files."""

from pathlib import Path

from safedeploy.bench.profiles import DeviceProfile, is_profile, list_profiles, load_profile
from safedeploy.errors import UserError, unknown
from safedeploy.export.targets import Target, is_path, list_targets, load_target
from safedeploy.typed_toml import read_toml


def known(*, devices: bool = False) -> dict[str, Target | DeviceProfile]:
    """What comes with safedeploy, by name: the targets, or the devices."""
    return dict(list_profiles()) if devices else {target.name: target for target in list_targets()}


def find(name: str, *, devices: bool = False) -> Target | DeviceProfile:
    """By name or by file; a file's content says which of the two it is. Raises UserError for what is neither."""
    if is_path(name):
        return load_profile(name) if devices or is_profile(read_toml(Path(name), "target")) else load_target(name)
    both = known(devices=True) if devices else {**known(devices=True), **known()}
    if name not in both:
        raise unknown("device" if devices else "target or device", name, sorted(both))
    return both[name]


def in_folder(folder: Path, *, devices: bool = False) -> dict[str, Target | DeviceProfile]:
    """Every .toml file of a folder, by its name. Raises UserError where there is none."""
    found = {path.name: find(str(folder / path.name), devices=devices) for path in sorted(folder.glob("*.toml"))}
    if not found:
        raise UserError(f"{folder} holds no .toml file; give a folder of targets or devices")
    return found
