"""A data set by its built-in name or its path."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from safedeploy.data import digits, folder, location30, npz, table, text, torchvision
from safedeploy.data.checks import every_class_occurs
from safedeploy.data.dataset import Dataset
from safedeploy.data.root import data_root
from safedeploy.data.sensitive import sensitive_column
from safedeploy.errors import UserError, unknown
from safedeploy.recipe import DataRecipe
from safedeploy.results import Preprocessing

_FORMS = "a folder with one folder of images a class, an .npz with x and y, a .csv or a .parquet"

Progress = Callable[[float], None]


def dataset_names() -> tuple[str, ...]:
    """The built-in names, the embedded one first."""
    return ("digits", *torchvision.SOURCES, "location30", *text.SOURCES)


def load_dataset(recipe: DataRecipe, progress: Progress | None = None) -> Dataset:
    """The data set `recipe.source`: a built-in name, or a path to what `docs/data.md` lists.

    `progress` hears of downloads and of decoding an image folder. Raises UserError for whatever is wrong with the data.
    """
    dataset = _load(recipe, progress)
    if recipe.text is not None and (dataset.kind != "text" or recipe.source in text.SOURCES):
        raise UserError(
            f"--text {recipe.text}: {recipe.source} has no such column; --text names one of a .csv or .parquet"
        )
    if recipe.sensitive is not None and dataset.kind == "text":
        raise UserError(f"{recipe.source} is read as text; --sensitive is for tables and .npz files")
    if recipe.sensitive is not None and dataset.sensitive is None:
        dataset = _without(dataset, recipe.sensitive, recipe.source)
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
    if source in text.SOURCES:
        return text.load_published(source, data_root(recipe.root), recipe.length)
    path = Path(source).expanduser()
    if path.is_dir():
        return folder.load(path, progress)
    suffix = path.suffix.lower()
    if not path.exists():
        if suffix or path.name != source:
            raise UserError(f"no such file or folder: {source}; --data takes {', '.join(dataset_names())}, or {_FORMS}")
        raise UserError(f"{unknown('data set', source, dataset_names())}; or give the path of {_FORMS}")
    if suffix == ".npz":
        return npz.load(path, recipe.sensitive)
    if suffix in table.SUFFIXES and recipe.text is not None:
        return text.load(path, recipe.text, recipe.label, recipe.length)
    if suffix in table.SUFFIXES:
        return table.load(path, recipe.label, recipe.sensitive)
    raise UserError(f"{source} is not a data set: give {_FORMS}")


def _without(dataset: Dataset, number: str, source: str) -> Dataset:
    """A table of numbered columns, one of them taken out of the inputs and kept beside."""
    if dataset.kind != "table":
        takes = "a column of a table, or an array of an .npz beside x and y"
        raise UserError(f"{source} has no sensitive column '{number}': --sensitive takes {takes}")
    columns = dataset.x.shape[1]
    if not number.isdigit() or int(number) >= columns or columns == 1:
        takes = f"one of its columns by number, 0 to {columns - 1}" if columns > 1 else "a second column"
        raise UserError(f"{source} has no sensitive column '{number}': --sensitive takes {takes}")
    column, how = int(number), dataset.preprocessing
    if isinstance(how, Preprocessing):
        mean, std = ([*values[:column], *values[column + 1 :]] for values in (how.mean, how.std))
        how = how.model_copy(update={"mean": mean, "std": std})
    sensitive = sensitive_column(dataset.x[:, column], number, source)
    x = np.delete(dataset.x, column, axis=1).astype(np.float32, copy=False)
    return replace(dataset, x=x, preprocessing=how, sensitive=sensitive)


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
    texts = [
        Listed(name, text.found(name, root), f"{root / source.folder}, as train.csv and test.csv")
        for name, source in text.SOURCES.items()
    ]
    return [*listed, Listed("location30", place is not None, where), *texts]
