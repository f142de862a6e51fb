"""Evidence and timings as Markdown, for a terminal, a pull request or a CI summary."""

import re
from collections.abc import Iterable, Sequence

from safedeploy.report import words
from safedeploy.report.comparisons import audit_names, compared
from safedeploy.report.contents import decisive
from safedeploy.report.controls import explain
from safedeploy.report.evidence_tables import (
    Table,
    attack_tables,
    epsilon_sentence,
    exposed_lead,
    exposed_table,
    hardest_sentence,
    null_sentence,
    reference_table,
)
from safedeploy.report.inference import attribute_sentences, attribute_table, attribute_title
from safedeploy.report.table import Cell
from safedeploy.results import Comparison, Evidence, Timing

MOST_EXPOSED = 10
TOGETHER = (
    "TPR is the share of members found, FPR the share of non-members wrongly called members. A rate is 'not "
    "resolvable' where fewer than five false positives are expected. Advantage is TPR \u2212 FPR at the attacker's own "
    "cut, chosen on the known samples. Brackets are the attack's own 95 % intervals; *together* are those that hold "
    "for all attacks at once, which the verdict reads; p is how often scores that know nothing reach the figure."
)


def audits_markdown(evidence: Sequence[Evidence], comparisons: Sequence[Comparison]) -> str:
    """Audits one after another; of several files their verdicts and differences come first."""
    parts = []
    if len(evidence) > 1:
        names = audit_names(evidence)
        verdicts = [
            f"- **{words.outcome(one.verdict)}.** {_text(words.verdict_sentence(one, name))}"
            for one, name in zip(evidence, names, strict=True)
        ]
        parts += [f"# Audit of {len(evidence)} files", "\n".join(verdicts)]
    if found := compared(comparisons, evidence):
        parts += [
            "## Differences",
            *map(_text, found.sentences),
            _cells(found.told),
            "Paired, on the same samples; brackets hold 95 % intervals, each row is a test of its own. The attack is "
            "that with the highest mean AUC on the two files; the JSON has the others.",
        ]
    parts += [evidence_markdown(one).rstrip("\n") for one in evidence]
    return "\n\n".join(parts) + "\n"


def evidence_markdown(evidence: Evidence) -> str:
    """One audit: verdict, every attack, attacks not run, controls and what was attacked."""
    info = evidence.artifact
    file = info.path.rsplit("/", 1)[-1]
    members, nonmembers = evidence.samples.members, evidence.samples.nonmembers
    main, more = attack_tables(evidence.attacks, members, nonmembers, evidence.verdict.budget)
    worst = decisive(evidence)
    parts = [
        f"# Audit of {_text(file)}",
        f"**{words.outcome(evidence.verdict)}.** {_text(words.verdict_sentence(evidence, file))} "
        f"{_text(words.advice(evidence))}",
        _text(words.basis(evidence)),
    ]
    if evidence.notes:
        parts.append("\n".join(f"- **Note.** {_text(note)}" for note in evidence.notes))
    parts += ["## Attacks", _cells(main), TOGETHER]
    parts += [_text(said) for said in (null_sentence(evidence.null), epsilon_sentence(evidence.attacks)) if said]
    parts += ["### Further figures", _cells(more)]
    if evidence.not_run:
        unrun = [f"- {_text(one.name)} ({one.access} box): {_text(one.reason)}" for one in evidence.not_run]
        parts += ["## Attacks not run", "\n".join(unrun)]
    exposed = exposed_table(worst.exposed[:MOST_EXPOSED], nonmembers) if worst else None
    if worst is not None and exposed is not None:
        parts += ["## Most exposed members", _text(exposed_lead(evidence, worst)), _cells(exposed)]
        if hardest := hardest_sentence(worst):
            parts.append(_text(hardest))
    if (hidden := evidence.attribute) is not None:
        said = " ".join(attribute_sentences(hidden))
        parts += [f"## {_text(attribute_title(hidden))}", _text(said), _cells(attribute_table(hidden))]
    parts.append("## Controls")
    controls = [
        f"- **{control.name}**: {f'{control.figure}. ' if control.figure else ''}{_text(control.text)}"
        for control in explain(evidence, evidence.controls.dense)
    ]
    parts.append("\n".join(controls))
    if effects := reference_table(evidence.controls.references, members, nonmembers):
        parts += ["### With other numbers of reference models", _cells(effects)]
    versions = ", ".join(f"{package} {version}" for package, version in sorted(evidence.versions.items()))
    parts += [
        "## What was attacked",
        "\n".join(
            [
                f"- Format: {info.format}",
                f"- SHA-256: `{info.sha256}`",
                f"- Disk size: {words.size(info.size_bytes)} ({info.size_bytes:,} bytes)",
                f"- Download size (zip, level 9): {words.size(info.zip_bytes)} ({info.zip_bytes:,} bytes)",
                f"- Versions: {_text(versions)}",
            ]
        ),
    ]
    return "\n\n".join(parts) + "\n"


def timings_markdown(timings: Sequence[Timing]) -> str:
    """A table of timings, one row a file and device; an emulated device's latencies are left out."""
    rows = []
    for timing in timings:
        fast = not words.is_emulated(timing)
        latency = timing.latency_ms
        numbers = (latency.p50, latency.p90, latency.p99, timing.cold_load_ms, timing.first_inference_ms)
        rows.append(
            [
                timing.artifact.path.rsplit("/", 1)[-1],
                "; ".join(filter(None, [words.device(timing), words.conditions(timing)])),
                f"{timing.runtime}, {words.plural(timing.threads, 'thread')}, batch {timing.batch}",
                *(map(words.milliseconds, numbers) if fast else (words.latency(timing), "", "", "", "")),
                words.queries(timing),
                words.size(timing.artifact.size_bytes),
                words.size(timing.artifact.zip_bytes),
                "; ".join(filter(None, [words.size(timing.peak_memory_bytes), words.before_loading(timing)])),
                words.ratio(timing) if fast else "",
            ]
        )
    heads = ["File", "Device", "Runtime", "p50", "p90", "p99", "Cold load", "First inference", "Queries"]
    heads += ["Disk size", "Download size (zip, level 9)", "Peak resident memory", "Median against baseline"]
    return _table(heads, rows) + "\n"


def _cells(table: Table) -> str:
    return _table(table.heads, [[_cell(cell) for cell in row] for row in table.rows])


def _cell(cell: Cell) -> str:
    return f"{cell}; {cell.note}" if cell.note else str(cell)


def _table(heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = list(heads)
    lines = [head, ["---"] * len(head), *[[_text(cell) for cell in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _text(text: str) -> str:
    """Text that stays text: no table cell, tag or link begins in it."""
    text = re.sub(r"([\\|`]|<(?=[A-Za-z/!?]))", r"\\\1", text)
    return " ".join(text.split()) if "\n" in text else text
