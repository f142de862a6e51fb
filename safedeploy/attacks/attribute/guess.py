"""Attribute attacks: a score for each value that a sample's hidden column may hold; the highest is the guess."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from safedeploy.attacks.attribute.ask import Answers
from safedeploy.attacks.attribute.column import Values
from safedeploy.attacks.attribute.learn import learn
from safedeploy.attacks.base import Floats


@dataclass(frozen=True, eq=False)
class Case:
    """n samples as the attacker meets them, without the column.

    imputed: (n, V) log P(value | other inputs, label) without the file. answers: the file's to every value.
    """

    imputed: Floats
    answers: Answers


ValueFunction = Callable[[Any, Values, Any], Floats]
"""(known, the known samples' values, targets) → (n, V) scores of the targets. Known and targets are of one side: both
members or both not, so that an attack is at its best on either side. Both are a `Case`, or a `withheld.Seen`."""


@dataclass(frozen=True)
class AttributeAttack:
    """`labels_only`: it looks at the file's predicted labels alone. `over`: what its attacker holds without the file,
    the other inputs and the label, or the label alone; it counts for what it adds to a guess from that.
    """

    name: str
    function: ValueFunction
    labels_only: bool = False
    access: Literal["black", "white"] = "black"
    over: Literal["inputs", "label"] = "inputs"


def imputation(known: Case, values: Values, targets: Case) -> Floats:
    """The baseline: the learned attacker without the file's answers."""
    return learn(known.imputed, values, targets.imputed)


def confidence(known: Case, values: Values, targets: Case) -> Floats:
    """log p_y + log prior: the maximum a posteriori guess (Fredrikson et al. 2014; Yeom et al. 2018, attack 4)."""
    prior = np.bincount(values, minlength=targets.imputed.shape[1]) / values.size
    return np.asarray(targets.answers.log_p + np.log(prior))


def cases(known: Case, values: Values, targets: Case) -> Floats:
    """CSMIA (Mehnaz et al. 2022): the value predicted right with most confidence, or wrong with least."""
    top = np.exp(targets.answers.top)
    return np.where(targets.answers.right, 1 + top, -top)


def labels(known: Case, values: Values, targets: Case) -> Floats:
    """LOMIA (Mehnaz et al. 2022): where one value alone is predicted right, that one; elsewhere what is imputed.

    The paper learns the imputation from the records that one value decides; here it is learned from the known samples.
    """
    right = targets.answers.right
    alone = right & (right.sum(axis=1, keepdims=True) == 1)
    return np.asarray(targets.imputed - targets.imputed.min() * alone)  # above every imputed figure


def learned(known: Case, values: Values, targets: Case) -> Floats:
    """Logistic regression on what is imputed and on the file's answers, fitted on the known samples."""
    return learn(_evidence(known), values, _evidence(targets))


def learned_labels(known: Case, values: Values, targets: Case) -> Floats:
    """The same from predicted labels alone."""
    sides = [np.concatenate([case.imputed, case.answers.right], axis=1) for case in (known, targets)]
    return learn(sides[0], values, sides[1])


ATTRIBUTE_ATTACKS = (
    AttributeAttack("attribute-confidence", confidence),
    AttributeAttack("attribute-cases", cases),
    AttributeAttack("attribute-labels", labels, labels_only=True),
    AttributeAttack("attribute-learned", learned),
    AttributeAttack("attribute-learned-labels", learned_labels, labels_only=True),
)


def _evidence(case: Case) -> Floats:
    """How a value's log p and φ stand against the other values': a sample's own difficulty cancels."""
    compared = [part - part.mean(axis=1, keepdims=True) for part in (case.answers.log_p, case.answers.phi)]
    return np.concatenate([case.imputed, *compared], axis=1)
