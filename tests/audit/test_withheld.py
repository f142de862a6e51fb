"""Attribute inference on an attribute that the model never saw: models of which the answer is known."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from safedeploy.attacks.attribute import withheld
from safedeploy.attacks.base import Knowledge
from safedeploy.audit.exam import Exam
from safedeploy.audit.withheld import audit_withheld
from safedeploy.data.samples import Samples
from safedeploy.data.sensitive import SensitiveColumn
from safedeploy.errors import UserError
from safedeploy.results import AttributeEvidence

CLASSES, COLUMNS = 4, 6
NAMES = tuple("abcd")
WEIGHT = np.random.default_rng(7).normal(size=(COLUMNS, CLASSES))
BLACK = [attack for attack in withheld.WITHHELD_ATTACKS if attack.access == "black"]
QUICK = BLACK[:1]  # answers over the label alone


def people(count, seed, value):
    """Numbers, labels by turns and an attribute: `value` (n,) of the rows and a generator."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(count, COLUMNS)).astype(np.float32)
    return Samples(x, np.arange(count) % CLASSES, np.asarray(value(x, generator), dtype=np.int64))


def coin(x, generator):
    return generator.integers(0, 2, len(x))


def correlated(x, generator):
    """What the first answer of `honest` tells, but for noise."""
    return x @ WEIGHT[:, 0] + 0.5 * generator.normal(size=len(x)) > 0


def parity(x, generator=None):
    """Of the signs of five columns: no learner finds it from a few hundred rows."""
    return np.prod(np.sign(x[:, :5]), axis=1) > 0


def exam(value, count=200, seed=0, names=("no", "yes")):
    parts = [people(count, [seed, part], value) for part in range(4)]
    column = SensitiveColumn("sex", np.concatenate([part.sensitive for part in parts]), names)
    return Exam(Knowledge(parts[0], parts[1], seed), parts[2], parts[3], NAMES, withheld=column)


def found(evidence, name):
    return next(attack for attack in evidence.attacks if attack.name == name)


def honest(made, weight=WEIGHT):
    return made.Function(lambda x: x @ weight, hidden=lambda x: np.maximum(x @ weight, 0))


def test_what_the_inputs_tell_is_not_the_model_s_doing(made):
    """The answers tell the attribute, and so do the inputs: over the label there is much, over the inputs nothing."""
    evidence = audit_withheld(honest(made), exam(correlated))
    assert evidence.withheld
    assert (evidence.column, evidence.values, evidence.columns) == ("sex", ["no", "yes"], [])
    assert evidence.imputation_members.auc > 0.9
    assert abs(evidence.label_members.auc - 0.5) < 0.12
    alone = found(evidence, "attribute-outputs")
    assert (alone.over, alone.access) == ("label", "black")
    assert alone.members.figures.auc > 0.7
    assert alone.finding == "general"
    for name in ("attribute-outputs-inputs", "attribute-features-inputs"):
        attack = found(evidence, name)
        assert attack.over == "inputs"
        assert attack.finding == "nothing"
        assert attack.members.auc_advantage.high < 0.05
    assert evidence.finding == "nothing"


def test_a_relation_that_the_inputs_alone_do_not_teach_is_what_the_model_adds(made):
    def answer(x):
        return np.outer(np.where(parity(x), 3, -3), [1, -1, 0, 0]) + 0.5 * (x @ WEIGHT)

    evidence = audit_withheld(made.Function(answer), exam(parity, 300), attacks=BLACK)
    assert evidence.imputation_nonmembers.auc < 0.65
    told = found(evidence, "attribute-outputs-inputs")
    assert min(told.members.auc_advantage.low, told.nonmembers.auc_advantage.low) > 0.2
    assert evidence.finding == told.finding == "general"


def test_what_is_answered_for_members_alone_is_memorised(made):
    asked = exam(coin)
    inside = {
        row.tobytes(): value
        for side in (asked.knowledge.members, asked.members)
        for row, value in zip(side.x, side.sensitive, strict=True)
    }

    def answer(x):
        signs = [2 * inside.get(row.tobytes(), 0.5) - 1 for row in np.ascontiguousarray(x)]
        return np.outer(signs, [4, -4, 0, 0]) + x @ WEIGHT

    evidence = audit_withheld(made.Function(answer), asked, attacks=BLACK)
    assert evidence.finding == "memorised"
    told = found(evidence, "attribute-outputs-inputs")
    assert told.members.figures.auc > 0.95
    assert told.nonmembers.auc_advantage.low <= 0


def test_an_answer_that_is_right_tells_what_the_label_tells_and_no_more(made):
    """The attribute is the label's parity, and the model answers the label: nothing beyond it."""
    asked = exam(coin)
    for side in (asked.knowledge.members, asked.knowledge.nonmembers, asked.members, asked.nonmembers):
        noise = np.random.default_rng(len(side.y)).random(len(side.y)) < 0.2
        side.sensitive[:] = (side.y % 2) ^ noise
    labels = {
        row.tobytes(): label
        for side in (asked.knowledge.members, asked.knowledge.nonmembers, asked.members, asked.nonmembers)
        for row, label in zip(side.x, side.y, strict=True)
    }
    right = made.Function(lambda x: 5 * np.eye(CLASSES)[[labels[row.tobytes()] for row in np.ascontiguousarray(x)]])
    evidence = audit_withheld(right, asked, attacks=BLACK)
    assert evidence.label_members.auc > 0.7
    assert found(evidence, "attribute-outputs").members.auc_advantage.high < 0.05
    assert evidence.finding == "nothing"


def test_inner_features_tell_more_than_answers_and_a_closed_file_is_asked_without(made):
    """The last layer drops what the inner features hold of the first column."""
    asked = exam(lambda x, generator: x[:, 0] > 0, 120)
    blind = WEIGHT.copy()
    blind[0] = 0
    told = [attack for attack in withheld.WITHHELD_ATTACKS if attack.over == "label"]
    evidence = audit_withheld(made.Function(lambda x: x @ blind, hidden=lambda x: x), asked, attacks=told)
    assert found(evidence, "attribute-outputs").members.figures.auc < 0.65
    assert found(evidence, "attribute-features").members.figures.auc > 0.9
    white = [attack for attack in withheld.WITHHELD_ATTACKS if attack.access == "white"]
    closed = audit_withheld(made.Function(lambda x: x @ blind), asked, attacks=[*QUICK, *white])
    assert set(closed.not_run) == {"attribute-features", "attribute-features-inputs"}
    assert "hides its weights" in closed.not_run["attribute-features"]


def test_each_of_many_values_counts_alike_and_rare_ones_are_left_out(made):
    """Value 3 is held by three known members; the mean AUC is scikit-learn's macro one-against-rest."""
    asked = exam(lambda x, generator: np.digitize(x[:, 0], [-0.5, 0.5]), names=("low", "mid", "high", "rare"))
    asked.knowledge.members.sensitive[:3] = asked.members.sensitive[:4] = 3
    evidence = audit_withheld(honest(made), asked, attacks=QUICK)
    assert evidence.values == ["low", "mid", "high"]
    assert (evidence.unseen.members, evidence.unseen.nonmembers) == (4, 0)
    each = [value.auc for value in evidence.imputation_members.per_value]
    assert evidence.imputation_members.auc == pytest.approx(np.mean(each))


def test_the_label_s_own_auc_is_scikit_learns(made):
    asked = exam(coin)
    for side in (asked.knowledge.members, asked.members):
        side.sensitive[:] = np.where(side.y == 0, 1, side.sensitive)
    evidence = audit_withheld(honest(made), asked, attacks=QUICK)
    rate = [asked.knowledge.members.sensitive[asked.knowledge.members.y == label].mean() for label in range(CLASSES)]
    ours = roc_auc_score(asked.members.sensitive, np.array(rate)[asked.members.y])
    assert evidence.label_members.auc == pytest.approx(ours, abs=1e-9)


def test_the_evidence_is_a_file_and_the_seed_decides_it(made, tmp_path):
    asked, heard = exam(correlated, 60), []
    first, second = (audit_withheld(honest(made), asked, attacks=QUICK, progress=heard.append) for _ in range(2))
    first.write(tmp_path / "attribute.json")
    assert AttributeEvidence.read(tmp_path / "attribute.json") == second
    assert heard == [1.0, 1.0]


def test_too_few_samples_of_the_values_are_refused(made):
    asked = exam(coin, 60)
    asked.members.sensitive[:] = 0
    with pytest.raises(UserError, match="give more samples"):
        audit_withheld(honest(made), asked, attacks=QUICK)
    asked = exam(coin, 60)
    asked.knowledge.members.sensitive[:] = 0
    with pytest.raises(UserError, match="column sex has 1 values that 5 known members"):
        audit_withheld(honest(made), asked, attacks=QUICK)


@pytest.mark.slow
def test_a_model_that_adds_nothing_raises_a_false_alarm_at_most_at_the_nominal_rate(made):
    """The answers tell the attribute well, and so do the inputs that they are made of."""
    attack = BLACK[1:]
    alarms = sum(
        audit_withheld(honest(made), exam(correlated, 80, seed), attacks=attack).finding != "nothing"
        for seed in range(40)
    )
    assert stats.binomtest(alarms, 40, 0.05, alternative="greater").pvalue > 0.01
