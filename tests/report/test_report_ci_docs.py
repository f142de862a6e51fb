"""Claims about docs/ci.md: its workflow parses, its commands run in order, exit codes and tables are as it says."""

import json
import re
import shlex
from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

import safedeploy

TEXT = (Path(safedeploy.__file__).parent.parent / "docs" / "ci.md").read_text(encoding="utf-8")
BUDGET = ("--budget", "auc=0.60", "--attacks", "loss")


def block(language: str) -> str:
    [found] = re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)
    return str(found)


def commands(script: str) -> list[list[str]]:
    """What follows 'safedeploy' in every line of a script that calls it."""
    lines = script.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.strip().startswith("safedeploy ")]


def steps() -> list[dict[str, Any]]:
    workflow = yaml.safe_load(block("yaml"))
    assert set(workflow) == {"name", True, "permissions", "jobs"}  # YAML 1.1 reads the key 'on' as true
    [job] = workflow["jobs"].values()
    assert all(("run" in step) != ("uses" in step) for step in job["steps"])
    return list(job["steps"])


@pytest.fixture
def audited(memorising: Path) -> Path:
    """The working folder as a job of the workflow finds it, once the samples are fetched."""
    (memorising / "audit-data").mkdir()
    for name, called in (("m.npz", "members.npz"), ("n.npz", "nonmembers.npz")):
        (memorising / name).rename(memorising / "audit-data" / called)
    return memorising


def test_the_workflow_runs_and_leaves_what_its_later_steps_take(audited: Path, typed: Callable[..., Any]) -> None:
    taken = []
    for step in steps():
        for words in commands(step.get("run", "")):
            answer = typed(*words, "--attacks", "loss")  # the others take their time
            assert answer.code == 3, answer.err
        for key in ("sarif_file", "report_paths", "path"):
            name = step.get("with", {}).get(key, "")
            if name.startswith("audit."):
                assert "failure()" in step["if"]  # what is over its budget is shown all the same
                assert (audited / name).stat().st_size > 0
                taken.append(name)

    assert sorted(taken) == ["audit.html", "audit.sarif", "audit.xml"]
    [result] = json.loads((audited / "audit.sarif").read_text())["runs"][0]["results"]
    assert (result["level"], result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]) == (
        "error",
        "model.onnx",
    )
    assert ET.parse(audited / "audit.xml").getroot().attrib["failures"] == "1"
    assert (audited / "audit.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.slow
def test_the_commands_with_reference_models_run_in_order(audited: Path, typed: Callable[..., Any]) -> None:
    make, audit = commands(block("sh"))

    made = typed(*make, "--epochs", 1)
    answer = typed(*audit)

    assert made.code == 0, made.err
    assert answer.code == 3, answer.err


def test_an_undecided_audit_exits_with_0_and_strictly_with_3(stranger: Any, typed: Callable[..., Any]) -> None:
    given = (stranger.model, "--members", stranger.members, "--nonmembers", stranger.nonmembers, *BUDGET)

    usual, strict = typed("audit", *given), typed("audit", *given, "--strict")

    assert "**Inconclusive.**" in usual.out
    assert (usual.code, strict.code) == (0, 3)


def test_without_a_budget_nothing_fails_and_bad_input_exits_with_2(audited: Path, typed: Callable[..., Any]) -> None:
    given = ("model.onnx", "--members", "audit-data/members.npz", "--nonmembers", "audit-data/nonmembers.npz")

    assert typed("audit", *given, "--attacks", "loss").code == 0
    assert typed("audit", *given, "--budget", "auc").code == 2


def test_the_table_of_samples_is_the_arithmetic_it_claims() -> None:
    """The Wilcoxon statistic's variance where nothing leaks, and five false positives."""
    rows = re.findall(r"^\| ([\d,]+) \| ([\d,]+) \| (0\.\d+) \| ([\d.]+) % \|$", TEXT, flags=re.MULTILINE)
    assert len(rows) == 4
    for judged, given, half, fpr in rows:
        count = int(judged.replace(",", ""))
        assert int(given.replace(",", "")) == 2 * count
        assert float(half) == round(1.96 * sqrt((2 * count + 1) / (12 * count**2)), 3)
        assert float(fpr) / 100 == pytest.approx(5 / count)


def test_every_format_and_outcome_is_explained() -> None:
    from safedeploy.cli.audit import Format

    for form in Format:
        assert f"| `{form.value}` |" in TEXT
    for outcome in ("pass", "fail", "inconclusive"):
        assert f"*{outcome}*" in TEXT
