"""What an attack is: an artifact, what the attacker knows, and target samples in; one score a sample out."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.references import References
from safedeploy.data.samples import Samples
from safedeploy.threads import one_for_trees

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What the attacker knows: samples of known membership, disjoint from every target, and a seed for its draws.

    `references`: models like the audited one that the attacker trained, with their answers on all of these samples.
    """

    members: Samples
    nonmembers: Samples
    seed: int = 0
    references: References | None = None


@dataclass(frozen=True, eq=False)
class Scores:
    """`values` (n,): higher is 'more likely a member'. `threshold`: the attacker's cut, chosen on its knowledge."""

    values: Floats
    threshold: float


ScoreFunction = Callable[[Artifact, Knowledge, Samples], Scores]


@dataclass(frozen=True)
class Attack:
    """`function`: its ScoreFunction, module:name, imported when it runs. `extra`: the optional dependency it needs.

    `references`: the fewest reference models it needs. `labels_only`: it looks at predicted labels alone. `queries`: it
    asks about inputs of its own making. `slow`: it takes so many queries that it runs only when asked for.
    """

    name: str
    access: Literal["black", "white"]
    function: str
    extra: str | None = None
    references: int = 0
    labels_only: bool = False
    queries: bool = False
    slow: bool = False

    def score(self, artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
        """Scores of `targets`. Raises artifacts.base.Unopenable where a white box is needed and the file hides it."""
        module, name = self.function.split(":")
        with one_for_trees():
            return cast(ScoreFunction, getattr(import_module(module), name))(artifact, knowledge, targets)
