"""Audits as JUnit XML (junit-10.xsd of the Jenkins xUnit plugin): a suite a file, a case for the budget and an attack.

The schema knows properties of a suite only, so an attack's figures stand there under its name.
"""

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from safedeploy.report import words
from safedeploy.report.flat import figures
from safedeploy.results import Evidence

# XML 1.0 (fifth edition), production 2: characters that no document may hold, escaped or not.
FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(evidence: Sequence[Evidence]) -> str:
    """fail is a failure, inconclusive and an attack that did not run are skipped, each with its reason."""
    root = ET.Element("testsuites", {"name": "safedeploy audit"})
    for one in evidence:
        root.append(_suite(one))
    for name in ("tests", "failures"):
        root.set(name, str(sum(int(suite.attrib[name]) for suite in root)))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(evidence: Evidence) -> ET.Element:
    path = plain(evidence.artifact.path)
    suite = ET.Element("testsuite", {"name": path})
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(evidence).items():
        ET.SubElement(properties, "property", {"name": plain(name), "value": plain(value)})
    verdict = evidence.verdict
    budget = _case(suite, "privacy budget", path)
    if verdict.outcome == "fail":
        failure = ET.SubElement(budget, "failure", {"type": "budget", "message": plain(verdict.reason)})
        failure.text = plain(f"{verdict.reason}\n{words.advice(evidence)}")
    elif verdict.outcome != "pass":
        _skip(budget, verdict.reason)
    for attack in evidence.attacks:
        _case(suite, f"attack {attack.name} ran", path)
    for unrun in evidence.not_run:
        _skip(_case(suite, f"attack {unrun.name} ran", path), unrun.reason)
    for name, found in (("tests", "testcase"), ("failures", ".//failure"), ("skipped", ".//skipped")):
        suite.set(name, str(len(suite.findall(found))))
    suite.set("errors", "0")
    return suite


def _case(suite: ET.Element, name: str, path: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", {"classname": path, "name": plain(name)})


def _skip(case: ET.Element, reason: str) -> None:
    skipped = ET.SubElement(case, "skipped", {"message": plain(reason)})
    skipped.text = plain(reason)


def _properties(evidence: Evidence) -> dict[str, str]:
    found = {
        "outcome": evidence.verdict.outcome,
        "reason": evidence.verdict.reason,
        "sha256": evidence.artifact.sha256,
        "members": str(evidence.samples.members),
        "nonmembers": str(evidence.samples.nonmembers),
    }
    found |= {f"budget.{key}": f"{limit:g}" for key, limit in evidence.verdict.budget.items()}
    for attack in evidence.attacks:
        found |= {f"{attack.name}.{key}": f"{value:.6g}" for key, value in figures(attack).items()}
    found |= {f"note.{number}": note for number, note in enumerate(evidence.notes, 1)}
    return found


def plain(text: str) -> str:
    """Text without the characters that XML cannot hold, each replaced by its code point in words."""
    return FORBIDDEN.sub(lambda found: f"(U+{ord(found[0]):04X})", text)
