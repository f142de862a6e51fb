"""The doctor reports what is really so: packages as pyproject.toml lists them, runtimes that answer, disk and data."""

import builtins
import re
import shutil
import tomllib
from pathlib import Path

import onnxruntime
import pytest

from safedeploy.doctor import PACKAGES, Finding, examine

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


@pytest.fixture(scope="module")
def findings() -> dict[str, Finding]:
    return {finding.what: finding for finding in examine()}


def test_its_packages_are_those_of_pyproject():
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    declared = {"": project["dependencies"], **project["optional-dependencies"]}
    for extra, packages in PACKAGES.items():
        assert set(packages) == {re.match(r"[A-Za-z0-9_-]+", requirement)[0] for requirement in declared[extra]}


def test_here_everything_that_is_installed_works(findings):
    broken = [finding for finding in findings.values() if finding.state == "broken"]
    assert broken == []


def test_onnx_runtime_is_named_with_its_version_and_providers(findings):
    detail = findings["ONNX Runtime"].detail
    assert onnxruntime.__version__ in detail
    assert all(provider in detail for provider in onnxruntime.get_available_providers())


def test_executorch_has_xnnpack(findings):
    assert findings["ExecuTorch"].state == "ok"
    assert "XnnpackBackend" in findings["ExecuTorch"].detail


def test_torch_has_a_cpu(findings):
    assert "cpu" in findings["torch devices"].detail


def test_an_extra_that_is_not_complete_says_what_would_bring_it(monkeypatch):
    import safedeploy.doctor as doctor

    monkeypatch.setitem(doctor.PACKAGES, "text", {"no-such-package": "no_such_package"})
    finding = doctor._packages("text")
    assert finding.state == "missing"
    assert finding.detail == "no-such-package needs the extra 'text': python -m pip install 'safedeploy[text]'"


def test_a_runtime_that_is_here_and_fails_is_broken_with_its_own_words(monkeypatch):
    """As after a partial upgrade: the package is found, importing it fails."""
    import safedeploy.doctor as doctor

    real = builtins.__import__

    def broken(name, *args, **kwargs):
        if name == "onnxruntime":
            raise ImportError("libonnxruntime.so: undefined symbol")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", broken)
    finding = doctor._tried("ONNX Runtime", "", doctor._onnxruntime)
    assert finding.state == "broken"
    assert "undefined symbol" in finding.detail


def test_data_sets_are_looked_for_in_the_given_root(tmp_path):
    folder = tmp_path / "location30"
    folder.mkdir()
    (folder / "dataset_location.tgz").touch()
    found = {finding.what: finding for finding in examine(str(tmp_path))}
    assert found["data set location30"].state == "ok"
    assert found["data set digits"].state == "ok"
    assert found["data set mnist"].state == "missing"
    assert str(tmp_path) in found["data set mnist"].detail


def test_a_full_disk_is_told(monkeypatch, tmp_path):
    import safedeploy.doctor as doctor

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(doctor, "ENOUGH_DISK", usage.total + 1)
    assert doctor._disk("disk", tmp_path / "not" / "yet" / "made").state == "broken"


def test_the_command_prints_a_table_or_json_and_brackets_survive(typed, findings):
    import json

    answer = typed("doctor")
    assert (answer.code, answer.err) == (0, "")
    assert "XnnpackBackend" in answer.out
    missing = [finding for finding in findings.values() if "safedeploy[" in finding.detail]
    assert all(finding.detail.split(": ")[1][-12:] in answer.out.replace("\n", "") for finding in missing)
    assert [one["what"] for one in json.loads(typed("doctor", "--json").out)] == list(findings)
