"""A data set by its built-in name or its path."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safedeploy.data import digits, folder, location30, npz, table, torchvision
from safedeploy.data.checks import every_class_occurs
from safedeploy.data.dataset import Dataset
from safedeploy.data.root import data_root
from safedeploy.errors import UserError, unknown
from safedeploy.recipe import DataRecipe

_FORMS = "a folder with one folder of images a class, an .npz with x and y, a .csv or a .parquet"

Progress = Callable[[float], None]


def dataset_names() -> tuple[str, ...]:
    """The built-in names, the embedded one first."""
    return ("digits", *torchvision.SOURCES, "location30")


def load_dataset(recipe: DataRecipe, progress: Progress | None = None) -> Dataset:
    """The data set `recipe.source`: a built-in name, or a path to what `docs/data.md` lists.

    `progress` hears of downloads and of decoding an image folder. Raises UserError for whatever is wrong with the data.
    """
    dataset = _load(recipe, progress)
    every_class_occurs(dataset.y, dataset.class_names, recipe.source)
    return dataset


def _load(recipe: DataRecipe, progress: Progress | None) -> Dataset:
    source = recipe.source
    if source == "digits":
        return digits.load()
    if source == "location30":
        return location30.load(data_root(recipe.root))
    if source in torchvision.SOURCES:
        return torchvision.load(source, data_root(recipe.root), progress)
    path = Path(source).expanduser()
    if path.is_dir():
        return folder.load(path, progress)
    suffix = path.suffix.lower()
    if not path.exists():
        if suffix or path.name != source:
            raise UserError(f"no such file or folder: {source}; --data takes {', '.join(dataset_names())}, or {_FORMS}")
        raise UserError(f"{unknown('data set', source, dataset_names())}; or give the path of {_FORMS}")
    if suffix == ".npz":
        return npz.load(path)
    if suffix in table.SUFFIXES:
        return table.load(path, recipe.label)
    raise UserError(f"{source} is not a data set: give {_FORMS}")


@dataclass(frozen=True)
class Listed:
    """A built-in data set; `where` says where its files are, or what to do to have them."""

    name: str
    found: bool
    where: str


def list_datasets(root: Path) -> list[Listed]:
    """For each built-in data set, whether its files are in `root`. Needs neither torch nor a network, reads no file."""
    listed = [Listed("digits", True, "comes with scikit-learn")]
    for name, source in torchvision.SOURCES.items():
        found = torchvision.found(name, root)
        folder_of = root / Path(next(iter(source.packed))).parent
        listed.append(Listed(name, found, str(folder_of) if found else f"downloaded into {root} when first used"))
    place = location30.find(root)
    where = str(place) if place else f"put {location30.PLACES[0]} into {root}"
    return [*listed, Listed("location30", place is not None, where)]
