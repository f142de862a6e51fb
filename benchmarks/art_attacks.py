"""The black-box attacks of ART (adversarial-robustness-toolbox 1.20), on the answers that ours get."""

from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.base import Knowledge, ScoreFunction, Scores
from safedeploy.data.samples import Samples

KINDS = {"nn": "neural network", "rf": "random forest", "gb": "gradient boosting"}


def art_attacks() -> dict[str, ScoreFunction]:
    attacks: dict[str, ScoreFunction] = {f"ART {name}": partial(_learned, kind) for kind, name in KINDS.items()}
    return attacks | {"ART rule-based": _rule_based}


def _learned(kind: str, artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
    from art.attacks.inference.membership_inference import MembershipInferenceBlackBox

    attack = MembershipInferenceBlackBox(_classifier(artifact), attack_model_type=kind)
    known, outside = knowledge.members, knowledge.nonmembers
    attack.fit(known.x, known.y, outside.x, outside.y)
    return Scores(_column(attack.infer(targets.x, targets.y, probabilities=True)), 0.5)


def _rule_based(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
    from art.attacks.inference.membership_inference import MembershipInferenceBlackBoxRuleBased

    found = MembershipInferenceBlackBoxRuleBased(_classifier(artifact)).infer(targets.x, targets.y)
    return Scores(_column(found), 0.5)


def _classifier(artifact: Artifact) -> object:
    from art.estimators.classification import BlackBoxClassifier

    def probabilities(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(softmax(artifact.logits(x), axis=1))

    return BlackBoxClassifier(probabilities, artifact.input_shape, artifact.classes)


def _column(answers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probability of 'member' of one or two columns."""
    table = np.asarray(answers, dtype=np.float64).reshape(len(answers), -1)
    return np.asarray(table[:, -1])
