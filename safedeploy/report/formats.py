"""An audit's result in the form a person or a program asks for."""

import json
from collections.abc import Sequence

from safedeploy.report.markdown import evidence_markdown
from safedeploy.results import Comparison, Evidence


def render(form: str, evidence: Sequence[Evidence], comparisons: Sequence[Comparison]) -> str:
    """`form`: md or json. One file's JSON is its evidence; of several an object."""
    match form:
        case "json":
            return _json(evidence, comparisons)
        case "md":
            return "\n".join(evidence_markdown(one) for one in evidence)
    raise ValueError(f"there is no form '{form}'")


def _json(evidence: Sequence[Evidence], comparisons: Sequence[Comparison]) -> str:
    if len(evidence) == 1:
        return evidence[0].model_dump_json(indent=2)
    parts = {"evidence": evidence, "comparisons": comparisons}
    return json.dumps({name: [one.model_dump(mode="json") for one in part] for name, part in parts.items()}, indent=2)
