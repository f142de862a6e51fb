"""The views of a sample that are asked about: itself, then what an augmentation makes of it, the same for every model.

A model that saw its members shifted or mirrored remembers them so, and best as it saw them: shifts as far and padded
with zeros as in training, mirrored only where members were (docs/audit.md has what other views miss).
"""

from collections.abc import Iterator

import numpy as np

from safedeploy.artifacts.base import Array
from safedeploy.errors import UserError
from safedeploy.recipe import TrainingRecipe
from safedeploy.results import Views
from safedeploy.seeds import derive

USUAL = 18  # views by default: of 50 they find what all find but a twentieth (docs/audit.md)
ITSELF = Views(augment="none", padding=0, count=1)

Move = tuple[int, int, bool]  # down, right, mirrored


def views_of(training: TrainingRecipe, input_shape: tuple[int, ...], count: int | None = None) -> Views:
    """`count` views of what models trained so saw of their members; by default all, up to 18.

    Models that saw members as they are have one view by default, and others by a pixel's shift and mirrored. Raises
    UserError where there are fewer than `count`.
    """
    if len(input_shape) != 3:
        every, asked = ITSELF, 1
    elif training.augment == "none":
        every, asked = Views(augment="crop-flip", padding=1, count=1), 1
    else:
        padding = training.shift(input_shape[1])
        every = Views(augment=training.augment, padding=padding, count=1)
        asked = min(USUAL, len(moves(every)))
    wanted, most = asked if count is None else count, len(moves(every))
    if not 1 <= wanted <= most:
        raise UserError(f"--views {count}: these models can be asked at 1 to {most} views")
    return ITSELF if wanted == 1 else every.model_copy(update={"count": wanted})


def moves(which: Views) -> list[Move]:
    """Every change that the augmentation can make, itself first, the others in a fixed order like a drawn one."""
    reach = range(-which.padding, which.padding + 1) if "crop" in which.augment else range(1)
    mirrors = (False, True) if "flip" in which.augment else (False,)
    every = [(down, right, mirrored) for down in reach for right in reach for mirrored in mirrors]
    return sorted(every, key=lambda move: (move != (0, 0, False), derive(0, "views", *move)))


def views(x: Array, which: Views) -> Iterator[Array]:
    """Arrays like x (n, channels, height, width), one after another; of other inputs than images one."""
    if which.count == 1:
        yield x
        return
    pad, (height, width) = which.padding, x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    for down, right, mirrored in moves(which)[: which.count]:
        view = padded[:, :, pad - down : pad - down + height, pad - right : pad - right + width]
        yield np.ascontiguousarray(view[..., ::-1] if mirrored else view)
