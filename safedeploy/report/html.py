"""The report as one self-contained HTML page: no script, no request, figures inline."""

from dataclasses import dataclass
from functools import cache
from itertools import groupby

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from safedeploy.report import figures, words
from safedeploy.report.contents import Contents, strongest
from safedeploy.report.controls import explain
from safedeploy.report.table import Row, bundle_file, glance, missing
from safedeploy.results import Access, DenseControl, Evidence

TILES = ("auc", "accuracy", "download", "p50")
ACCESSES: tuple[Access, ...] = ("black", "white")


@dataclass(frozen=True)
class Audited:
    """One audit to tabulate; `whose` is the model's label."""

    whose: str
    file: str
    audit: Evidence | DenseControl
    members: int
    nonmembers: int


def render_html(contents: Contents) -> str:
    """The whole page. Equal contents give equal bytes."""
    rows = glance(contents)
    file = contents.headline
    evidence = contents.shipped.evidence[file] if file else None
    dense = contents.dense_audit(file) if file else None
    lines = _roc_lines(evidence, dense)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            contents=contents,
            file=file,
            evidence=evidence,
            dense=dense,
            worst=strongest(evidence.attacks) if evidence else None,
            headline=words.headline(contents),
            groups=[list(group) for _, group in groupby(rows, key=lambda row: row.group)],
            device=_this_machine(contents),
            tiles=_tiles(rows, file or (contents.files[0] if contents.files else "")),
            missing=missing(rows),
            lines=lines,
            roc=Markup(figures.roc_figure(lines, evidence.samples.nonmembers)) if evidence and lines else None,
            histograms=_histograms(evidence, dense),
            classes=_classes(evidence),
            audits=_audits(contents),
            controls=explain(evidence, dense) if evidence else (),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("safedeploy.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        words=words, strongest=strongest, bundle_file=bundle_file, most_classes=figures.MOST_CLASSES
    )
    return environment


def _tiles(rows: list[Row], file: str) -> list[Row]:
    """The four figures of the file the verdict rests on, from the at-a-glance table."""
    return [row for key in TILES for row in rows if row.key == key and row.file == file]


def _this_machine(contents: Contents) -> str:
    """What the timings call 'this machine', where they all agree and know it; else empty."""
    timings = [timing for model in contents.models for timing in model.timing.values() if timing.device == "local"]
    names = {words.processor(timing) for timing in timings}
    return names.pop() if len(names) == 1 else ""


def _roc_lines(evidence: Evidence | None, dense: Evidence | DenseControl | None) -> list[figures.Line]:
    """The strongest black-box and the strongest white-box attack on each model."""
    models: tuple[tuple[figures.Model, Evidence | DenseControl | None], ...] = (("shipped", evidence), ("dense", dense))
    lines = []
    for model, audit in models:
        for access in ACCESSES:
            attack = strongest([attack for attack in audit.attacks if attack.access == access]) if audit else None
            if attack is not None:
                lines.append(figures.Line(model, attack))
    return lines


def _histograms(evidence: Evidence | None, dense: Evidence | DenseControl | None) -> list[tuple[str, str, Markup]]:
    """(whose model, attack, figure) of the strongest attack on each model."""
    found = []
    for name, model, audit in (("scores", "compressed model", evidence), ("dense-scores", "dense control", dense)):
        worst = strongest(audit.attacks) if audit else None
        if worst is not None:
            found.append((model, worst.name, Markup(figures.histogram_figure(worst, name, model))))
    return found


def _classes(evidence: Evidence | None) -> Markup | None:
    worst = strongest(evidence.attacks) if evidence else None
    return Markup(figures.class_figure(worst.per_class)) if worst and worst.per_class else None


def _audits(contents: Contents) -> list[Audited]:
    """Every audit of every model, the one the verdict rests on first."""
    found = []
    names = sorted(contents.files, key=lambda name: name != contents.headline)
    for name in names:
        evidence = contents.shipped.evidence.get(name)
        if evidence is not None:
            found.append(
                Audited(contents.shipped.label, name, evidence, evidence.samples.members, evidence.samples.nonmembers)
            )
        dense = contents.dense_audit(name)
        samples = dense.samples if isinstance(dense, Evidence) else evidence.samples if evidence else None
        if dense is not None and samples is not None:
            found.append(Audited("dense control", name, dense, samples.members, samples.nonmembers))
    return found
