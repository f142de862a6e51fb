"""One file audited: what leaks is found, what does not is not, and what could not be tried is said."""

from importlib import util

import pytest

from safedeploy.attacks.membership import ATTACKS, STANDARD, select
from safedeploy.audit import attempt as attempt_module
from safedeploy.audit.audit import audit
from safedeploy.errors import UserError
from safedeploy.results import Evidence

THRESHOLDS = [attack for attack in ATTACKS if attack.function.split(":")[0].endswith("threshold")]
OF_TABLES = [attack for attack in STANDARD if not attack.references and attack.name != "augment-averaged"]


def run(made, artifact, exam, budget=None, attacks=THRESHOLDS, **options):
    return audit(artifact, made.info, exam, budget=budget or {}, dense="none was trained", attacks=attacks, **options)


def test_a_memorising_artifact_fails_its_budget(made):
    exam = made.exam(200)
    evidence = run(made, made.memoriser(exam.knowledge.members, exam.members), exam, {"auc": 0.6})
    assert evidence.verdict.outcome == "fail"
    assert evidence.worst.auc > 0.95
    assert evidence.controls.correctness.attack_accuracy > 0.8
    assert (evidence.task.member_accuracy, evidence.samples.members, evidence.known.nonmembers) == (1.0, 200, 200)


def test_an_artifact_without_memory_passes(made):
    evidence = run(made, made.honest(), made.exam(400), {"auc": 0.65})
    assert evidence.verdict.outcome == "pass"
    assert all(0.4 < attack.auc < 0.6 for attack in evidence.attacks)
    assert abs(evidence.controls.correctness.attack_accuracy - 0.5) < 0.06


@pytest.fixture(scope="module")
def by_every_attack(made):
    """An exam's evidence, and a function that makes it again."""
    exam = made.exam(80)

    def again():
        return run(made, made.memoriser(exam.knowledge.members, exam.members), exam, attacks=OF_TABLES)

    return again(), again


def test_every_attack_runs_on_an_open_artifact_and_figures_are_its_name_s(by_every_attack):
    evidence, _ = by_every_attack
    assert [attack.name for attack in evidence.attacks] == [attack.name for attack in OF_TABLES]
    assert evidence.not_run == []
    assert {attack.access for attack in evidence.attacks} == {"black", "white"}


def test_an_attack_whose_extra_is_missing_is_listed_with_what_to_install(made, monkeypatch):
    monkeypatch.setattr(attempt_module, "find_spec", lambda name: None if name == "torch" else util.find_spec(name))
    evidence = run(made, made.honest(), made.exam(60), attacks=OF_TABLES)
    left = [(attack.name, attack.access) for attack in evidence.not_run]
    assert left == [("neural-black", "black"), ("neural-white", "white"), ("gradient-norm", "white")]
    assert all("pip install 'safedeploy[train]'" in attack.reason for attack in evidence.not_run)
    assert len(evidence.attacks) == len(OF_TABLES) - 3


def test_a_white_box_that_cannot_be_opened_is_listed_with_its_reason(made):
    closed = made.Function(made.honest().answer)
    evidence = run(made, closed, made.exam(60), attacks=OF_TABLES)
    hidden = {"neural-white": "the format hides its weights", "gradient-norm": "the format hides its weights"}
    assert {left.name: left.reason for left in evidence.not_run} == hidden


def test_an_attack_without_the_references_or_the_images_it_needs_is_listed(made):
    evidence = run(
        made, made.honest(), made.exam(60), attacks=[*THRESHOLDS, *select(["lira-online", "augment-averaged"])]
    )
    reasons = {left.name: left.reason for left in evidence.not_run}
    assert "needs 2 reference models and has 0" in reasons["lira-online"]
    assert "safedeploy references" in reasons["lira-online"]
    assert "no images" in reasons["augment-averaged"]


def test_no_attack_at_all_is_an_error_with_the_reasons(made):
    white = [attack for attack in ATTACKS if attack.access == "white"]
    closed = made.Function(made.honest().answer)
    with pytest.raises(UserError, match=r"no attack could run on model\.onnx: neural-white: the format hides"):
        run(made, closed, made.exam(60), attacks=white)


def test_a_budget_nobody_can_hold_is_refused_before_anything_runs(made):
    artifact = made.honest()
    with pytest.raises(UserError, match="no figure to hold"):
        run(made, artifact, made.exam(60), {"acu": 0.6})
    assert artifact.asked == 0


def test_a_budget_s_own_rate_is_computed(made):
    evidence = run(made, made.honest(), made.exam(200), {"tpr@0.07": 0.5})
    assert [rate.fpr for rate in evidence.attacks[0].tpr] == [0.1, 0.01, 0.001, 0.0001, 0.07]
    assert "tpr@0.07" in evidence.verdict.reason


def test_sets_that_differ_make_the_verdict_inconclusive(made):
    exam = made.exam(400, shift=1.0)
    assert run(made, made.honest(), exam, {"auc": 0.6}).verdict.outcome == "inconclusive"


def test_a_control_that_is_missing_says_why(made):
    evidence = run(made, made.honest(), made.exam(60))
    assert evidence.controls.dense is None
    assert evidence.controls.missing == {"dense": "none was trained"}


def test_ten_attacks_ask_the_artifact_once(made):
    artifact, exam = made.honest(), made.exam(60)
    run(made, artifact, exam)
    assert artifact.asked == 4 * 60


def test_evidence_is_the_same_twice_and_reads_back(by_every_attack, tmp_path):
    first, again = by_every_attack
    assert first == again()
    first.write(tmp_path / "evidence.json")
    assert Evidence.read(tmp_path / "evidence.json") == first


def test_progress_ends_at_one(made):
    told = []
    run(made, made.honest(), made.exam(60), progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_every_audit_holds_itself_against_chance_and_against_itself(made):
    exam = made.exam(150)
    evidence = run(made, made.memoriser(exam.members), exam, {"auc": 0.6})
    assert evidence.null.attacks == len(evidence.attacks)
    assert evidence.null.figures[0].figure == "auc"
    assert 0.5 < evidence.null.figures[0].high < evidence.worst.auc
    assert evidence.controls.same.calibrated
    assert [attack.name for attack in evidence.controls.same.attacks] == [attack.name for attack in evidence.attacks]
