"""An audit's result in the form a person or a program asks for."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from safedeploy.errors import UserError
from safedeploy.report.junit import junit_xml
from safedeploy.report.markdown import audits_markdown
from safedeploy.report.sarif import sarif_json
from safedeploy.results import Comparison, Evidence

SUFFIXES = {".md": "md", ".json": "json", ".html": "html", ".htm": "html", ".xml": "junit", ".sarif": "sarif"}


def form_of(place: Path) -> str:
    """The form that the suffix of `place` names. Raises UserError where it names none."""
    if place.suffix.lower() not in SUFFIXES:
        raise UserError(f"--out {place}: its suffix is none of {', '.join(SUFFIXES)}; say which with --format")
    return SUFFIXES[place.suffix.lower()]


def render(
    form: str,
    evidence: Sequence[Evidence],
    comparisons: Sequence[Comparison],
    thumbnails: Mapping[int, bytes] | None = None,
) -> str:
    """`form`: md, json, html, junit or sarif. One file's JSON is its evidence; of several an object.

    `thumbnails`: PNGs of exposed members by their index, shown on the page (`report/thumbnails.py` makes them).
    """
    match form:
        case "json":
            return _json(evidence, comparisons)
        case "md":
            return audits_markdown(evidence, comparisons)
        case "junit":
            return junit_xml(evidence)
        case "sarif":
            return sarif_json(evidence)
        case "html":
            from safedeploy.report.audit_html import audit_html  # matplotlib takes a second to load

            return audit_html(evidence, comparisons, thumbnails)
    raise ValueError(f"there is no form '{form}'")


def _json(evidence: Sequence[Evidence], comparisons: Sequence[Comparison]) -> str:
    if len(evidence) == 1:
        return evidence[0].model_dump_json(indent=2)
    parts = {"evidence": evidence, "comparisons": comparisons}
    return json.dumps({name: [one.model_dump(mode="json") for one in part] for name, part in parts.items()}, indent=2)
