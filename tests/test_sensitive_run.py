"""A sensitive column from the table to the verdict, through the command line: an Adult-like table, and a stranger's."""

import sys
from pathlib import Path

import numpy as np
import pytest

from safedeploy.results import AttributeEvidence, Evidence

sys.path.insert(0, str(Path(__file__).parent))
from adult_like import adult_like

OFTEN = ["--option", "testers=attribute", "--option", "test_every=2", "--option", "test_samples=100"]
SMALL = ["--model", "mlp", "--density", "0.3", "--epochs", "8", "--target", "one.toml"]


@pytest.fixture
def adult(home):
    adult_like(1200).to_csv(home / "adult.csv", index=False)
    (home / "one.toml").write_text('name = "one"\ndescription = "one file"\nfiles = ["model.onnx"]\n')
    return ["--data", "adult.csv", "--label", "income", "--sensitive", "sex"]


def ships_nothing_of_it(bundle):
    for file in bundle.iterdir():
        content = file.read_bytes().lower()
        assert b"female" not in content, file.name
        assert b'"sex"' not in content, file.name


def test_the_file_is_held_against_its_inputs_and_ships_nothing_of_the_column(typed, adult, home):
    assert typed("compress", *adult, *SMALL, "--method", "set", "--name", "a").code == 0
    assert typed("export", "runs/a").code == 0
    ships_nothing_of_it(home / "runs/a/bundle/one")
    alone = typed("attribute", "runs/a/bundle/one/model.onnx", "--json")
    assert alone.code == 0, alone.err
    found = AttributeEvidence.model_validate_json(alone.out)
    assert (found.column, found.withheld, found.values) == ("sex", True, ["female", "male"])
    assert found.imputation_nonmembers.auc > found.label_nonmembers.auc > 0.55
    named = typed("attribute", "runs/a/bundle/one/model.onnx", "--sensitive", "race", "--json").out
    other = AttributeEvidence.model_validate_json(named)  # a column that the model was given is asked about with values
    assert (other.withheld, len(other.columns)) == (False, 3)


@pytest.mark.slow
def test_a_run_tests_candidates_audits_and_reports_the_column_beside_membership(typed, adult, home):
    options = [*SMALL, *OFTEN, "--method", "safecompress", "--attacks", "loss", "--name", "a"]
    answer = typed("run", *adult, *options)
    assert answer.code == 0, answer.err
    run = home / "runs/a"
    assert '"attack_success": {"attribute": ' in (run / "metrics.jsonl").read_text()
    found = Evidence.read(run / "audit/one/model.onnx.json").attribute
    assert (found.column, found.withheld) == ("sex", True)
    assert Evidence.read(run / "dense/audit/one/model.onnx.json").attribute is not None
    page = (run / "report.html").read_text()
    assert "Column sex (female, male)" in page
    assert "Dense control, added on members" in page
    ships_nothing_of_it(run / "bundle/one")
    told = typed("audit", "runs/a/bundle/one/model.onnx", "--attacks", "loss").out
    assert "## Column sex (female, male)" in told
    alone = typed("attribute", "runs/a/bundle/one/model.onnx", "--json").out
    assert AttributeEvidence.model_validate_json(alone) == found


def test_a_run_whose_column_too_few_hold_ends_before_anything_is_trained(typed, adult, home):
    table = adult_like(1200).assign(sex=["rare" if row < 12 else "common" for row in range(1200)])
    table.to_csv(home / "adult.csv", index=False)
    said = typed("run", *adult, *SMALL, "--method", "set").fault
    assert "column sex" in said
    assert not (home / "runs").exists()


def test_a_tester_without_a_column_is_one_line(typed, adult, home):
    said = typed("compress", *adult[:4], *SMALL, *OFTEN, "--method", "safecompress").fault
    assert "tester attribute needs a sensitive column: name it with --sensitive COLUMN" in said
    assert not (home / "runs").exists()


def test_a_stranger_s_samples_bring_the_column_along(typed, stranger, home):
    files = ["--members", stranger.members, "--nonmembers", stranger.nonmembers]
    assert "no column was withheld" in typed("attribute", stranger.model, *files).fault
    for path in (stranger.members, stranger.nonmembers):
        held = dict(np.load(path))
        np.savez(path, **held, sensitive=np.where(held["x"][:, 0] > 0, "over", "under"))
    answer = typed("attribute", stranger.model, *files, "--json")
    assert answer.code == 0, answer.err
    found = AttributeEvidence.model_validate_json(answer.out)
    assert (found.column, found.withheld, found.values) == ("sensitive", True, ["over", "under"])
    held = dict(np.load(stranger.nonmembers))
    np.savez(stranger.nonmembers, x=held["x"], y=held["y"])
    assert "save it in both or in neither" in typed("attribute", stranger.model, *files).fault


@pytest.mark.slow
def test_images_bring_their_attribute_as_an_array(typed, home):
    """A patch is bright for one of two groups, another says the class: a model that needs the second sees the first."""
    draw = np.random.default_rng(0)
    y, group = draw.integers(0, 2, 900), draw.choice(["a", "b"], 900)
    x = draw.integers(0, 120, (900, 1, 8, 8))
    x[:, 0, :3, :3] += 60 * (group == "a")[:, None, None]
    x[:, 0, 4:, 4:] += 60 * y[:, None, None]
    np.savez(home / "faces.npz", x=x.astype(np.uint8), y=y, sensitive=group)
    (home / "one.toml").write_text('name = "one"\ndescription = "one file"\nfiles = ["model.onnx"]\n')
    options = ["--model", "lenet5", "--method", "dense", "--epochs", "4", "--target", "one.toml", "--name", "faces"]
    assert typed("compress", "--data", "faces.npz", *options).code == 0
    assert typed("export", "runs/faces").code == 0
    found = AttributeEvidence.model_validate_json(typed("attribute", "runs/faces/bundle/one/model.onnx", "--json").out)
    assert (found.column, found.values) == ("sensitive", ["a", "b"])
    inner = next(attack for attack in found.attacks if attack.name == "attribute-features")
    assert inner.nonmembers.auc_advantage.low > 0.1
    assert found.finding == "nothing"  # the pixels tell it too
