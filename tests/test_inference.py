"""What a file gives away besides membership, through the command line, in a run and for a stranger's file."""

import json

import numpy as np
import pytest

from safedeploy.results import AttributeEvidence, InversionEvidence


@pytest.fixture
def table(home):
    """People whose group hangs on their habits; `secret` is a coin toss that decides half of the labels."""
    generator = np.random.default_rng(0)
    rows = ["a,b,colour,secret,label"]
    for _ in range(600):
        a, b, secret = generator.normal(), generator.normal(), generator.integers(0, 2)
        label = int(a + (1.5 if secret else -1.5) > 0)
        rows.append(f"{a:.4f},{b:.4f},{generator.choice(['red', 'blue', 'green'])},{secret},{label}")
    (home / "people.csv").write_text("\n".join(rows) + "\n")
    (home / "one.toml").write_text('name = "one"\ndescription = "one file"\nfiles = ["model.onnx"]\n')
    return home / "people.csv"


def test_a_column_is_named_as_in_the_table_and_held_against_guessing_without_the_file(typed, table):
    options = ["--model", "mlp", "--method", "dense", "--epochs", "15", "--target", "one.toml", "--name", "p"]
    assert typed("compress", "--data", table, *options).code == 0
    assert typed("export", "runs/p").code == 0
    file = "runs/p/bundle/one/model.onnx"
    answer = typed("attribute", file, "--sensitive", "secret", "--json")
    assert answer.code == 0, answer.err
    found = AttributeEvidence.model_validate_json(answer.out)
    assert (found.column, found.columns) == ("secret", [5])  # after a, b and three columns of colour
    assert found.imputation_members.auc > 0.6  # the label tells it without any file
    grouped = AttributeEvidence.model_validate_json(typed("attribute", file, "--sensitive", "colour", "--json").out)
    assert grouped.columns == [2, 3, 4]
    assert len(grouped.values) == 3
    text = typed("attribute", file, "--sensitive", "secret").out
    assert "without the file" in text
    assert "'secret'" in typed("attribute", file, "--sensitive", "secrte").fault


def test_a_stranger_s_columns_are_numbers(typed, leaking):
    sides = ["--members", leaking.members, "--nonmembers", leaking.nonmembers]
    answer = typed("attribute", leaking.model, "--sensitive", "2", *sides, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["columns"] == [2]
    assert "no column 6" in typed("attribute", leaking.model, "--sensitive", "6", *sides).fault


def test_inversion_leaves_its_inputs_beside_how_they_were_judged(typed, shipped_run, home):
    answer = typed("inversion", shipped_run / "bundle/pair/model.onnx", "--out", "seen", "--json")
    assert answer.code == 0, answer.err
    found = InversionEvidence.model_validate_json(answer.out)
    assert found.access == "white"
    assert len(found.classes) == 10
    assert InversionEvidence.read(home / "seen/inversion.json") == found
    with np.load(home / "seen/inversion.npz") as kept:
        assert kept["inputs"].shape == kept["known"].shape
        assert len(kept["inputs"]) == len(kept["labels"]) == 10
    assert (home / "seen/inversion.png").read_bytes().startswith(b"\x89PNG")
