"""What attacks with references work on: the known samples and the targets together, scored alike, in one array."""

from dataclasses import dataclass
from itertools import islice
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.base import Artifact
from safedeploy.artifacts.remember import Remembered
from safedeploy.attacks.base import Knowledge, Scores
from safedeploy.attacks.membership.signals import scaled_logit
from safedeploy.attacks.references import Answers, Floats
from safedeploy.attacks.views import views
from safedeploy.data.samples import Samples
from safedeploy.errors import UserError
from safedeploy.results import Views
from safedeploy.roc import best_threshold

FEWEST = 2

_asked: WeakKeyDictionary[Artifact, WeakKeyDictionary[Samples, tuple[Views, Floats]]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Pool:
    """n samples: `inside` known members, then `outside` known non-members, then the targets.

    phi: (n, Q) of the audited model at the references' views. answers: the K references' on the same samples.
    labels: (n,).
    """

    phi: Floats
    answers: Answers
    labels: NDArray[np.int64]
    inside: int
    outside: int

    @property
    def known(self) -> int:
        return self.inside + self.outside

    def scores(self, values: Floats) -> Scores:
        """`values` (n,) of the pool: the targets', with the cut that is best on the known samples."""
        return Scores(values[self.known :], best_threshold(*self.split(values)))

    def split(self, values: Floats) -> tuple[Floats, Floats]:
        """`values` (n,) of the pool: the known members' and the known non-members'."""
        return values[: self.inside], values[self.inside : self.known]


def pool(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Pool:
    """Ask the artifact and the references. Raises UserError where there are fewer than two references."""
    references = knowledge.references
    if references is None or references.count < FEWEST:
        found = 0 if references is None else references.count
        raise UserError(f"this attack needs {FEWEST} reference models, not {found}; make them and give --references")
    parts = (knowledge.members, knowledge.nonmembers, targets)
    answers = [references.of(part) for part in parts]
    return Pool(
        phi=np.concatenate([target_phi(artifact, part, references.views) for part in parts]),
        answers=Answers(
            np.concatenate([part.phi for part in answers], axis=1), np.concatenate([part.member for part in answers], 1)
        ),
        labels=np.concatenate([part.y for part in parts]),
        inside=len(knowledge.members.y),
        outside=len(knowledge.nonmembers.y),
    )


def target_phi(artifact: Artifact, samples: Samples, which: Views) -> Floats:
    """φ of `samples` at the views, (n, Q) float64; every attack on the same artifact shares one asking."""
    kept = _asked.setdefault(artifact, WeakKeyDictionary())
    found = kept.get(samples)
    if found is None or found[0] != which:
        # views are made here and asked about once: an artifact that remembers would hold them all
        plain = artifact.artifact if isinstance(artifact, Remembered) else artifact
        asked = [artifact.logits(samples.x)]
        asked += [plain.logits(view) for view in islice(views(samples.x, which), 1, None)]
        found = which, np.stack([scaled_logit(logits, samples.y) for logits in asked], axis=1)
        kept[samples] = found
    return found[1]
