"""Evidence and timings as Markdown, for a terminal, a pull request or a CI summary."""

from collections.abc import Iterable, Sequence

from safedeploy.report import words
from safedeploy.report.contents import strongest
from safedeploy.report.controls import explain
from safedeploy.results import Evidence, Timing, TprAtFpr


def evidence_markdown(evidence: Evidence) -> str:
    """One audit: verdict, every attack, attacks not run, controls and what was attacked."""
    info = evidence.artifact
    file = info.path.rsplit("/", 1)[-1]
    members, nonmembers = evidence.samples.members, evidence.samples.nonmembers
    worst = strongest(evidence.attacks)
    rates = [f"TPR at {words.rate(point.fpr)} FPR" for point in worst.tpr] if worst else []
    parts = [
        f"# Audit of {_text(file)}",
        f"**{words.outcome(evidence.verdict)}.** {_text(words.verdict_sentence(evidence, file))}",
        _text(_basis(evidence)),
        "## Attacks",
        _table(
            ["Attack", "Attacker sees", "AUC", "Balanced accuracy", *rates],
            [
                [
                    attack.name,
                    words.access(attack),
                    words.auc(attack),
                    words.balanced_accuracy(attack),
                    *[_rate(point, members, nonmembers) for point in attack.tpr],
                ]
                for attack in sorted(evidence.attacks, key=lambda attack: -attack.auc)
            ],
        ),
    ]
    if evidence.not_run:
        unrun = [f"- {_text(one.name)} ({one.access} box): {_text(one.reason)}" for one in evidence.not_run]
        parts += ["## Attacks not run", "\n".join(unrun)]
    parts.append("## Controls")
    for control in explain(evidence, evidence.controls.dense):
        parts.append(f"- **{control.name}**: {control.figure or 'not measured'}. {_text(control.text)}")
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
                words.device(timing),
                f"{timing.runtime}, {words.plural(timing.threads, 'thread')}, batch {timing.batch}",
                *(map(words.milliseconds, numbers) if fast else (words.latency(timing), "", "", "", "")),
                words.queries(timing),
                words.size(timing.artifact.size_bytes),
                words.size(timing.artifact.zip_bytes),
                f"{words.size(timing.peak_memory_bytes)}; {words.size(timing.baseline_memory_bytes)} before loading",
                words.ratio(timing) if fast else "",
            ]
        )
    heads = ["File", "Device", "Runtime", "p50", "p90", "p99", "Cold load", "First inference", "Queries"]
    heads += ["Disk size", "Download size (zip, level 9)", "Peak resident memory", "Median against baseline"]
    return _table(heads, rows) + "\n"


def _rate(point: TprAtFpr, members: int, nonmembers: int) -> str:
    counts = words.positives(point, members, nonmembers)
    return f"{words.true_positive_rate(point)}; {counts}; {words.chance(point)}"


def _basis(evidence: Evidence) -> str:
    """What the verdict rests on."""
    budget = words.budget(evidence.verdict)
    parts = [
        f"Budget: {budget}." if budget else "",
        f"Grounds: {evidence.verdict.reason.rstrip('.')}." if budget else "",
        f"Judged on {words.plural(evidence.samples.members, 'member')}",
        f"and {words.plural(evidence.samples.nonmembers, 'non-member')};",
        "brackets hold 95 % intervals, AUC 0.5 is a coin toss.",
    ]
    return " ".join(part for part in parts if part)


def _table(heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = list(heads)
    lines = [head, ["---"] * len(head), *[[_text(cell) for cell in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _text(text: str) -> str:
    """Text that stays text: no table cell, tag or link begins in it."""
    for mark in ("\\", "|", "<", "`"):
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split()) if "\n" in text else text
