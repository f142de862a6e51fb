"""The at-a-glance table, compressed beside dense: the one source that HTML, Markdown and the terminal print."""

from dataclasses import dataclass
from typing import Literal

from safedeploy.report import words
from safedeploy.report.contents import Contents, ModelResults, strongest
from safedeploy.results import BundleFile, DenseControl, Evidence

Key = Literal["trained", "kept", "private", "accuracy", "auc", "disk", "download", "p50", "memory", "export"]

NAMES: dict[Key, str] = {
    "trained": "Test accuracy",
    "kept": "Weights kept",
    "private": "Differential privacy",
    "accuracy": "Test accuracy",
    "auc": "Strongest attack, AUC",
    "disk": "Disk size",
    "download": "Download size (zip, level 9)",
    "p50": "Latency, p50",
    "memory": "Peak resident memory",
    "export": "Export",
}


@dataclass(frozen=True)
class Cell:
    """One figure as text, its 95 % interval and a note; where not `known`, why, and the `command` that gets it."""

    text: str
    interval: str = ""
    note: str = ""
    known: bool = True
    command: str = ""

    def __str__(self) -> str:
        return f"{self.text} {self.interval}".rstrip()


@dataclass(frozen=True)
class Row:
    """One figure of every model, in the order of `Contents.models`; `file` is empty for the trained model itself."""

    file: str
    group: str
    key: Key
    name: str
    cells: tuple[Cell, ...]


def glance(contents: Contents) -> list[Row]:
    """Accuracy, leakage, sizes, latency and memory of every file of every model."""
    rows = [
        _row("", "Trained model", "trained", [_trained(model) for model in contents.models]),
        _row("", "Trained model", "kept", [_kept(model) for model in contents.models]),
    ]
    if any(model.summary and model.summary.guarantee for model in contents.models):
        rows.append(_row("", "Trained model", "private", [_private(model) for model in contents.models]))
    if not contents.files:
        unexported = [_missing("not exported", model.command("export")) for model in contents.models]
        rows.append(_row("", "Files", "export", unexported))
    for file in contents.files:
        kind = words.format_name(file)
        group = f"{file} · {kind}" if kind else file
        audits = [contents.shipped.evidence.get(file), *[contents.dense_audit(file) for _ in contents.models[1:]]]
        pairs = list(zip(contents.models, audits, strict=True))
        rows += [
            _row(file, group, "accuracy", [_accuracy(model, audit, file) for model, audit in pairs]),
            _row(file, group, "auc", [_auc(model, audit, file) for model, audit in pairs]),
            _row(file, group, "disk", [_size(model, audit, file, "size_bytes") for model, audit in pairs]),
            _row(file, group, "download", [_size(model, audit, file, "zip_bytes") for model, audit in pairs]),
            _row(file, group, "p50", [_latency(model, file) for model in contents.models]),
            _row(file, group, "memory", [_memory(model, file) for model in contents.models]),
        ]
    return rows


def _row(file: str, group: str, key: Key, cells: list[Cell]) -> Row:
    return Row(file=file, group=group, key=key, name=NAMES[key], cells=tuple(cells))


def missing(rows: list[Row]) -> list[str]:
    """The commands that would fill the empty cells, each once, in the order of the table."""
    return list(dict.fromkeys(cell.command for row in rows for cell in row.cells if cell.command))


def _missing(text: str, command: str) -> Cell:
    return Cell(text, known=False, command=command)


def _trained(model: ModelResults) -> Cell:
    if model.summary is None:
        return _missing("not trained", model.command("compress"))
    accuracy = model.summary.accuracy.get("test")
    if accuracy is None:
        return Cell("not measured", note="the training summary has no test accuracy", known=False)
    return Cell(words.percent(accuracy), note=_tested(model))


def _tested(model: ModelResults) -> str:
    count = model.summary.roles.get("test") if model.summary else None
    return f"of {words.plural(count, 'example')}" if count else ""


def _kept(model: ModelResults) -> Cell:
    if model.summary is None:
        return _missing("not trained", model.command("compress"))
    return Cell(
        words.percent(model.summary.density),
        note=f"of the prunable ones; {words.plural(model.summary.parameters, 'parameter')} in all",
    )


def _private(model: ModelResults) -> Cell:
    promised = model.summary.guarantee if model.summary else None
    if promised is None:
        return Cell("none", note="not trained by DP-SGD", known=False)
    noise = f"noise {promised.noise_multiplier:.3g} × clip {promised.clip:g}"
    return Cell(words.guarantee(promised), note=f"of training, for one member; {noise}")


def _accuracy(model: ModelResults, audit: Evidence | DenseControl | None, file: str) -> Cell:
    if audit is None:
        return _missing("not audited", model.command("audit", file))
    if audit.task.test_accuracy is None:
        return Cell("not measured", note="the audit had no test examples", known=False)
    return Cell(words.percent(audit.task.test_accuracy), note=_tested(model))


def _auc(model: ModelResults, audit: Evidence | DenseControl | None, file: str) -> Cell:
    if audit is None:
        return _missing("not audited", model.command("audit", file))
    worst = strongest(audit.attacks)
    if worst is None:
        return Cell("no attack ran", note="see the attacks not run", known=False)
    return Cell(f"{worst.auc:.3f}", words.interval(*words.joint_bounds(worst)), f"{worst.name}, {words.access(worst)}")


def _size(
    model: ModelResults, audit: Evidence | DenseControl | None, file: str, field: Literal["size_bytes", "zip_bytes"]
) -> Cell:
    entry = bundle_file(model, file)
    source = entry if entry is not None else audit.artifact if audit else None
    if source is None:
        return _missing("not exported", model.command("export"))
    count: int = getattr(source, field)
    return Cell(words.size(count))


def _latency(model: ModelResults, file: str) -> Cell:
    timing = model.timing.get(file)
    if timing is None:
        return _missing("not timed", model.command("bench", file))
    return Cell(words.latency(timing), note=words.place(timing), known=not words.is_emulated(timing))


def _memory(model: ModelResults, file: str) -> Cell:
    timing = model.timing.get(file)
    if timing is None:
        return _missing("not timed", model.command("bench", file))
    return Cell(words.size(timing.peak_memory_bytes), note=words.before_loading(timing))


def bundle_file(model: ModelResults, name: str) -> BundleFile | None:
    """The manifest's entry of a file."""
    return next((file for file in model.manifest.files if file.name == name), None) if model.manifest else None
