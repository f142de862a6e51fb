"""Claims about the formats of an audit: each holds the verdict, and a program of its kind can read it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safedeploy.report.formats import render
from safedeploy.report.junit import junit_xml, plain
from safedeploy.report.sarif import sarif_json, uri
from safedeploy.results import AttackNotRun, Evidence, SampleCounts

if TYPE_CHECKING:
    from safedeploy.auditing import Audits

FORMS = ("md", "json", "html", "junit", "sarif")


def judged(evidence: Evidence, outcome: str, **changed: Any) -> Evidence:
    verdict = evidence.verdict.model_copy(update={"outcome": outcome, **changed})
    return evidence.model_copy(update={"verdict": verdict})


@pytest.mark.parametrize("form", FORMS)
def test_every_form_names_both_files_and_gives_the_same_text_again(audits: "Audits", form: str) -> None:
    text = render(form, audits.evidence, audits.comparisons)

    assert "model.onnx" in text
    assert "model.int8.onnx" in text
    assert render(form, audits.evidence, audits.comparisons) == text


@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_evidence_of_an_earlier_version(make_evidence: Callable[..., Evidence], form: str) -> None:
    assert "model.pte" in render(form, [make_evidence("model.pte")], [])


def test_a_form_that_there_is_not_is_an_error(audits: "Audits") -> None:
    with pytest.raises(ValueError, match="there is no form 'pdf'"):
        render("pdf", audits.evidence, [])


def test_the_json_of_one_file_is_its_evidence(audits: "Audits") -> None:
    text = render("json", audits.evidence[:1], [])

    assert Evidence.model_validate_json(text) == audits.evidence[0]


# JUnit: the rules of junit-10.xsd, which ElementTree cannot check by itself.

SUITE_ATTRIBUTES = {"name", "tests", "failures", "errors", "skipped"}


def suites(evidence: list[Evidence]) -> list[ET.Element]:
    root = ET.fromstring(junit_xml(evidence))
    assert root.tag == "testsuites"
    assert set(root.attrib) <= {"name", "time", "tests", "failures", "disabled", "errors"}
    for suite in root:
        assert suite.tag == "testsuite"
        assert set(suite.attrib) == SUITE_ATTRIBUTES
        assert [part.tag for part in suite] == ["properties"] + ["testcase"] * int(suite.attrib["tests"])
        for entry in suite[0]:
            assert entry.tag == "property"
            assert set(entry.attrib) == {"name", "value"}
        for case in suite.findall("testcase"):
            assert set(case.attrib) == {"classname", "name"}
            assert {part.tag for part in case} <= {"failure", "skipped"}
        for name, tag in (("failures", "failure"), ("skipped", "skipped")):
            assert int(suite.attrib[name]) == len(suite.findall(f"testcase/{tag}"))
        names = [case.attrib["name"] for case in suite.findall("testcase")]
        assert len(names) == len(set(names))
    assert int(root.attrib["tests"]) == sum(int(suite.attrib["tests"]) for suite in root)
    return list(root)


def test_junit_has_a_suite_a_file_and_fails_with_the_reason(audits: "Audits") -> None:
    found = suites(audits.evidence)

    assert [suite.attrib["name"] for suite in found] == [one.artifact.path for one in audits.evidence]
    [failure] = found[0].findall("testcase[@name='privacy budget']/failure")
    assert failure.attrib["message"] == audits.evidence[0].verdict.reason
    figures = {entry.attrib["name"]: entry.attrib["value"] for entry in found[0][0]}
    assert float(figures["loss.auc"]) == pytest.approx(audits.evidence[0].attacks[0].auc, rel=1e-5)
    assert figures["budget.auc"] == "0.6"


@pytest.mark.parametrize(("outcome", "tag"), [("pass", None), ("inconclusive", "skipped"), ("none", "skipped")])
def test_junit_skips_what_was_not_decided(audits: "Audits", outcome: str, tag: str | None) -> None:
    [suite] = suites([judged(audits.evidence[0], outcome, reason="because")])

    [case] = suite.findall("testcase[@name='privacy budget']")

    assert [part.tag for part in case] == ([tag] if tag else [])
    assert all(part.attrib["message"] == "because" for part in case)


def test_junit_skips_an_attack_that_did_not_run(audits: "Audits") -> None:
    unrun = AttackNotRun(name="neural-white", access="white", reason="needs torch")

    [suite] = suites([audits.evidence[0].model_copy(update={"not_run": [unrun]})])

    [case] = suite.findall("testcase[@name='attack neural-white ran']")
    assert case[0].attrib["message"] == "needs torch"


@given(st.text())
def test_any_reason_is_well_formed_xml_and_what_xml_can_hold_is_kept(reason: str) -> None:
    element = ET.Element("failure", {"message": plain(reason)})
    element.text = plain(reason)

    back = ET.fromstring(ET.tostring(element, encoding="unicode"))

    kept = re.sub(r"\(U\+[0-9A-F]{4,}\)", "", back.attrib["message"])
    assert set(kept) <= set(reason) | set("(U+)0123456789ABCDEF")
    if reason.isprintable():
        assert back.attrib["message"] == reason


def test_a_control_character_in_a_path_is_written_out(audits: "Audits") -> None:
    one = audits.evidence[0]
    odd = one.model_copy(update={"artifact": one.artifact.model_copy(update={"path": "a\x00b<&\x1b.onnx"})})

    [suite] = suites([odd])

    assert suite.attrib["name"] == "a(U+0000)b<&(U+001B).onnx"


# SARIF: what the 2.1.0 specification requires of each object.


def sarif_run(evidence: list[Evidence]) -> dict[str, Any]:
    log = json.loads(sarif_json(evidence))
    assert log["version"] == "2.1.0"  # 3.13.2
    [run] = log["runs"]  # 3.13.4
    driver = run["tool"]["driver"]  # 3.14.6, 3.18.2
    assert driver["name"] == "safedeploy"  # 3.19.8
    rules = driver["rules"]
    ids = [rule["id"] for rule in rules]  # 3.49.3
    assert len(ids) == len(set(ids))
    for invocation in run["invocations"]:
        assert isinstance(invocation["executionSuccessful"], bool)  # 3.20.14
        for notification in invocation["toolExecutionNotifications"]:
            assert notification["message"]["text"]  # 3.58.5
            assert notification["level"] in {"none", "note", "warning", "error"}
    for artifact in run["artifacts"]:
        assert re.fullmatch("[0-9a-f]{64}", artifact["hashes"]["sha-256"])  # 3.24.11
        assert set(artifact["roles"]) <= {"analysisTarget"}
    for result in run["results"]:
        assert result["message"]["text"]  # 3.27.11
        assert result["level"] in {"none", "note", "warning", "error"}  # 3.27.10
        assert ids[result["ruleIndex"]] == result["ruleId"]  # 3.27.5, 3.27.6
        [location] = result["locations"]
        where = location["physicalLocation"]["artifactLocation"]
        assert run["artifacts"][where["index"]]["location"]["uri"] == where["uri"]  # 3.4.5
        assert location["physicalLocation"]["region"]["startLine"] >= 1  # 3.30.5
        assert all(isinstance(value, str) for value in result["partialFingerprints"].values())  # 3.27.17
    return dict(run)


def test_sarif_names_the_deciding_attack_and_its_figures(audits: "Audits") -> None:
    run = sarif_run(audits.evidence)
    first = audits.evidence[0]

    result = run["results"][0]

    assert result["level"] == "error"
    assert result["ruleId"] == f"membership-inference/{first.verdict.worst_attack}"
    assert first.verdict.reason in result["message"]["text"]
    assert result["properties"]["auc"] == first.worst.auc
    assert result["properties"]["budget"] == first.verdict.budget


def test_sarif_warns_of_an_undecided_file_and_says_how_many_samples_it_needs(audits: "Audits") -> None:
    needed = SampleCounts(members=740, nonmembers=740)

    run = sarif_run([judged(audits.evidence[0], "inconclusive", needed=needed)])

    [result] = run["results"]
    assert result["level"] == "warning"
    assert result["properties"]["needed"] == {"members": 740, "nonmembers": 740}
    assert "about 740 members and 740 non-members" in result["message"]["text"]


@pytest.mark.parametrize("outcome", ["pass", "none"])
def test_sarif_has_no_result_for_a_file_that_is_not_over_its_budget(audits: "Audits", outcome: str) -> None:
    run = sarif_run([judged(audits.evidence[0], outcome)])

    assert run["results"] == []
    [note] = run["invocations"][0]["toolExecutionNotifications"]
    assert note["message"]["text"].startswith(("model.onnx stays within", "No privacy budget"))


def test_sarif_gives_the_next_build_of_a_file_the_same_identity(audits: "Audits") -> None:
    one = audits.evidence[0]
    rebuilt = one.model_copy(update={"artifact": one.artifact.model_copy(update={"sha256": "0" * 64})})

    prints = [sarif_run([each])["results"][0]["partialFingerprints"] for each in (one, rebuilt, audits.evidence[1])]

    assert prints[0] == prints[1]
    assert prints[0] != prints[2]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("out/model.onnx", "out/model.onnx"),
        ("my models/50 % #1.onnx", "my%20models/50%20%25%20%231.onnx"),
        ("runs/größe.onnx", "runs/gr%C3%B6%C3%9Fe.onnx"),
    ],
)
def test_a_relative_path_is_a_relative_uri_as_given(path: str, expected: str) -> None:
    assert uri(path) == expected


def test_an_absolute_path_is_a_file_uri(tmp_path: Path) -> None:
    assert uri(str(tmp_path)) == tmp_path.as_uri()
