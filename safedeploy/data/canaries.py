"""Canaries: examples put into training or left out by fair coins: one model bounds ε (Steinke et al. 2023)."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from safedeploy.data.arrays import read_arrays
from safedeploy.data.split import Indices, Role, Split
from safedeploy.errors import UserError
from safedeploy.rundir import write_bytes
from safedeploy.seeds import numpy_generator

Kind = Literal["mislabelled", "natural"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SOURCES: tuple[Role, ...] = ("population", "nonmember_known")


@dataclass(frozen=True, eq=False)
class Canaries:
    """m examples. `index`: of the data set, ascending. `label`: what each is trained as. `included`: in training.

    `kind`: with a label that is not theirs, or with their own. It is written into the run and never into a bundle.
    """

    index: Indices
    label: Indices
    included: NDArray[np.bool_]
    kind: Kind

    def write(self, path: Path) -> None:
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, index=self.index, label=self.label, included=self.included, kind=np.array(self.kind)
        )
        write_bytes(path, buffer.getvalue())

    @property
    def trained(self) -> tuple[Indices, Indices]:
        """(index, label) of those to append to the members in training."""
        return self.index[self.included], self.label[self.included]


@dataclass(frozen=True)
class CanaryGuesses:
    """What an attacker says of m canaries: `guesses` of them called in or out, of which `correct` rightly."""

    canaries: int
    guesses: int
    correct: int


def draw_canaries(
    labels: Indices, classes: int, split: Split, count: int, seed: int, kind: Kind = "mislabelled"
) -> Canaries:
    """`count` examples that training does not hold: of `population`, and where it is too small of `nonmember_known`.

    labels: (n,) class indices of the data set. A mislabelled canary gets one of the other classes, each as likely: it
    can only be memorised. Which are included depends on nothing else. Those of `nonmember_known` are known non-members
    no longer: leave `index` out of what the attacker is told. Raises UserError where there are too few.
    """
    if count < 1:
        raise UserError(f"--canaries {count}: give the number of examples to insert or leave out, 1 or more")
    if kind == "mislabelled" and classes < 2:
        raise UserError("a canary is mislabelled with another class: the data set has one alone")
    pools = [split.indices(role) for role in SOURCES]
    if count > sum(pool.size for pool in pools):
        held = " and ".join(f"{pool.size:,} of {role}" for pool, role in zip(pools, SOURCES, strict=True))
        raise UserError(f"--canaries {count}: the split holds {held} to draw them from; ask for fewer")
    shuffled = [
        numpy_generator(seed, "canaries", role).permutation(pool) for pool, role in zip(pools, SOURCES, strict=True)
    ]
    index = np.sort(np.concatenate(shuffled)[:count])
    label = labels[index]
    if kind == "mislabelled":
        step = numpy_generator(seed, "canaries", "labels").integers(1, classes, count)
        label = (label + step) % classes
    included = numpy_generator(seed, "canaries", "coins").integers(0, 2, count).astype(bool)
    return Canaries(index, label, included, kind)


def read_canaries(path: Path) -> Canaries:
    index, label, included, kind = read_arrays(path, "index", "label", "included", "kind")
    whole = all(part.ndim == 1 and part.dtype == np.int64 and part.size == index.size for part in (index, label))
    if not whole or included.shape != index.shape or included.dtype != np.bool_ or str(kind) not in KINDS:
        raise UserError(f"{path} is damaged: it must hold an index, a label and a coin a canary; train again")
    return Canaries(index, label, included, next(known for known in KINDS if known == str(kind)))


def guess(scores: NDArray[np.float64], included: NDArray[np.bool_], called_in: int, called_out: int) -> CanaryGuesses:
    """The `called_in` highest scores are called in, the `called_out` lowest out; on the rest the attacker abstains.

    scores: (m,), higher is likelier in training (Steinke et al. 2023, algorithm 1, steps 5 to 8). Both numbers must be
    fixed before the coins are looked at. Of equal scores the first canary ranks lower: the coins break no tie.
    """
    count = scores.size
    if included.shape != scores.shape or min(called_in, called_out) < 0 or called_in + called_out > count:
        raise ValueError(f"{called_in} in and {called_out} out of {count} scores and {included.size} coins")
    if np.isnan(scores).any():
        raise ValueError("scores contain NaN")
    order = np.argsort(scores, kind="stable")
    right = int(included[order[count - called_in :]].sum()) + int((~included[order[:called_out]]).sum())
    return CanaryGuesses(count, called_in + called_out, right)
