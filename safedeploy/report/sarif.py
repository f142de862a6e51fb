"""Audits as SARIF 2.1.0 (OASIS): a rule an attack, a result a file that is over its budget or undecided.

A file within its budget is a notification, not a result: viewers such as GitHub's code scanning show every result as an
alert, whatever its kind.
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from safedeploy.report import words
from safedeploy.report.comparisons import audit_names
from safedeploy.report.flat import figures
from safedeploy.results import AttackEvidence, Evidence

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {"fail": "error", "inconclusive": "warning"}


def sarif_json(evidence: Sequence[Evidence]) -> str:
    """One run over all files. An attack that did not run, and what a reader must know, are notifications."""
    rules = {attack.name: _rule(attack) for one in evidence for attack in one.attacks}
    names = list(rules)
    driver: dict[str, Any] = {
        "name": "safedeploy",
        "rules": list(rules.values()),
    }
    version = next((one.versions["safedeploy"] for one in evidence if "safedeploy" in one.versions), None)
    if version is not None:
        driver["version"] = version
    called = list(zip(evidence, audit_names(evidence), strict=True))
    run = {
        "tool": {"driver": driver},
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [note for one, name in called for note in _notifications(one, name)],
            }
        ],
        "artifacts": [
            {
                "location": {"uri": uri(one.artifact.path)},
                "length": one.artifact.size_bytes,
                "hashes": {"sha-256": one.artifact.sha256},
                "roles": ["analysisTarget"],
            }
            for one in evidence
        ],
        "results": [
            _result(one, name, index, names)
            for index, (one, name) in enumerate(called)
            if one.verdict.outcome in LEVELS
        ],
        "columnKind": "unicodeCodePoints",
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def uri(path: str) -> str:
    """A relative URI of a relative path, as given; a file: URI of an absolute one (SARIF 2.1.0, 3.4.3)."""
    pure = PurePath(path)
    return pure.as_uri() if pure.is_absolute() else quote(pure.as_posix(), safe="/")


def _rule(attack: AttackEvidence) -> dict[str, Any]:
    text = f"Membership inference: {attack.name}, {attack.access} box"
    more = (
        f"{text}. It tells training examples from others by what the file answers"
        f"{' and holds inside' if attack.access == 'white' else ''}; a result means that the privacy budget is "
        "exceeded, or that the samples do not decide whether it is."
    )
    return {
        "id": f"membership-inference/{attack.name}",
        "name": attack.name,
        "shortDescription": {"text": text},
        "fullDescription": {"text": more},
        "help": {"text": "docs/audit.md of safedeploy says how the attacks, the intervals and the verdict are made."},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["privacy", "membership-inference"]},
    }


def _result(one: Evidence, name: str, index: int, names: list[str]) -> dict[str, Any]:
    verdict, worst = one.verdict, one.worst
    rule = f"membership-inference/{worst.name}"
    # GitHub tells alerts apart by this; equal for the next build of the same file, so that its alert stays one
    identity = sha256(f"{one.artifact.path}\0{','.join(sorted(verdict.budget))}".encode()).hexdigest()
    properties: dict[str, Any] = {"outcome": verdict.outcome, "budget": verdict.budget, **figures(worst)}
    if verdict.needed is not None:
        properties["needed"] = verdict.needed.model_dump(mode="json")
    return {
        "ruleId": rule,
        "ruleIndex": names.index(worst.name),
        "level": LEVELS[verdict.outcome],
        "message": {"text": f"{name}: {verdict.reason.rstrip('.')}. {words.advice(one)}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri(one.artifact.path), "index": index},
                    "region": {"startLine": 1},  # GitHub refuses a result without a line, of a binary too
                }
            }
        ],
        "partialFingerprints": {"primaryLocationLineHash": identity},
        "properties": properties,
    }


def _notifications(one: Evidence, name: str) -> list[dict[str, Any]]:
    texts = [] if one.verdict.outcome in LEVELS else [words.verdict_sentence(one, name)]
    texts += [f"{name}: {note}" for note in one.notes]
    texts += [f"{name}: attack {unrun.name} did not run: {unrun.reason}" for unrun in one.not_run]
    location = {"physicalLocation": {"artifactLocation": {"uri": uri(one.artifact.path)}}}
    return [{"level": "note", "message": {"text": text}, "locations": [location]} for text in texts]
