"""Result files as an interface: what is written is read back, and what is not one of them is said in one line."""

import json

import pytest
from pydantic import ValidationError

from safedeploy.errors import UserError
from safedeploy.results import Summary, TprAtFpr

SUMMARY = Summary(
    data="digits",
    fingerprint="0" * 64,
    model="mlp",
    method="set",
    density=0.1,
    layers=[],
    parameters=10,
    accuracy={"test": 0.5},
    epochs=1,
    seconds=0.5,
    seed=0,
    device="cpu",
    versions={},
    roles={"test": 3},
)


def test_a_result_reads_back_equal_and_names_its_schema(tmp_path):
    SUMMARY.write(tmp_path / "summary.json")
    assert Summary.read(tmp_path / "summary.json") == SUMMARY
    assert json.loads((tmp_path / "summary.json").read_text())["schema"] == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": 2}, "schema: "),
        ({"density": 1.5}, "density: "),
        ({"density": None}, "density: "),
        ({"extra": 1}, "extra: "),
        ({"layers": [{"name": "fc"}]}, "layers.0.shape: "),
    ],
)
def test_a_field_that_is_wrong_is_named(tmp_path, change, says):
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({**json.loads(SUMMARY.model_dump_json()), **change}))
    with pytest.raises(UserError) as caught:
        Summary.read(path)
    assert str(caught.value).startswith(f"{path} is not a Summary file: {says}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]", b"null"])
def test_a_file_that_is_no_result_is_one_line(tmp_path, content):
    path = tmp_path / "summary.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        Summary.read(path)
    assert str(caught.value).startswith(f"{path} is not a Summary file: ")
    assert "\n" not in str(caught.value)
    assert ": :" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        Summary.read(tmp_path / "summary.json")


@pytest.mark.parametrize("tpr", [float("nan"), float("inf"), -0.1, 1.1])
def test_a_rate_is_between_0_and_1(tpr):
    counts = {"true_positives": 0, "false_positives": 0}
    with pytest.raises(ValidationError):
        TprAtFpr(fpr=0.01, tpr=tpr, low=0, high=1, realised_fpr=0, null_high=0, resolvable=True, **counts)
