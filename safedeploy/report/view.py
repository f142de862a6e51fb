"""What a page draws of one audit: its figures, tables and sentences, gathered for the templates."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from safedeploy.report import evidence_tables as tables
from safedeploy.report import figures, words
from safedeploy.report.contents import decisive, strongest
from safedeploy.report.controls import Explained, explain
from safedeploy.report.inference import attribute_sentences, attribute_table, attribute_title
from safedeploy.report.table import bundle_file
from safedeploy.results import Access, AttackEvidence, DenseControl, Evidence

ACCESSES: tuple[Access, ...] = ("black", "white")


@dataclass(frozen=True)
class Picture:
    """An exposed example; `data`: a PNG in base64."""

    index: int
    label: str
    data: str


@dataclass(frozen=True)
class Hidden:
    """What the file tells of the sensitive column that the model never saw."""

    title: str
    said: list[str]
    table: tables.Table


@dataclass(frozen=True)
class View:
    """One audit for a page. `key` keeps its figures' ids apart from another audit's; empty text: nothing known."""

    key: str
    evidence: Evidence
    dense: Evidence | DenseControl | None
    worst: AttackEvidence | None
    lines: tuple[figures.Line, ...]
    roc: Markup | None
    histograms: tuple[tuple[str, str, Markup], ...]
    classes: Markup | None
    null: str
    epsilon: str
    hardest: str
    exposed: tables.Table | None
    exposed_lead: str
    pictures: tuple[Picture, ...]
    controls: tuple[Explained, ...]
    references: tables.Table | None
    hidden: Hidden | None


def view(
    evidence: Evidence,
    dense: Evidence | DenseControl | None,
    key: str = "",
    thumbnails: Mapping[int, bytes] | None = None,
) -> View:
    """`thumbnails`: PNGs by `ExposedMember.index`."""
    worst, nonmembers = decisive(evidence), evidence.samples.nonmembers
    lines = _roc_lines(evidence, dense)
    exposed = worst.exposed if worst else []
    drawn = [(one, (thumbnails or {}).get(one.index)) for one in exposed]
    return View(
        key=key,
        evidence=evidence,
        dense=dense,
        worst=worst,
        lines=lines,
        roc=Markup(figures.roc_figure(lines, nonmembers, evidence.null, f"{key}roc")) if lines else None,
        histograms=_histograms(evidence, dense, key),
        classes=Markup(figures.class_figure(worst.per_class, f"{key}classes")) if worst and worst.per_class else None,
        null=tables.null_sentence(evidence.null),
        epsilon=tables.epsilon_sentence(evidence.attacks),
        hardest=tables.hardest_sentence(worst) if worst else "",
        exposed=tables.exposed_table(exposed, nonmembers),
        exposed_lead=tables.exposed_lead(evidence, worst) if worst else "",
        pictures=tuple(Picture(one.index, one.label, b64encode(data).decode()) for one, data in drawn if data),
        controls=explain(evidence, dense),
        references=tables.reference_table(evidence.controls.references, evidence.samples.members, nonmembers),
        hidden=_hidden(evidence, dense),
    )


def _hidden(evidence: Evidence, dense: Evidence | DenseControl | None) -> Hidden | None:
    found = evidence.attribute
    if found is None:
        return None
    beside = dense.attribute if isinstance(dense, Evidence) else None
    return Hidden(attribute_title(found), attribute_sentences(found), attribute_table(found, beside))


@cache
def environment() -> Environment:
    """Templates of this room: everything is escaped, and a name that is not there is an error."""
    made = Environment(
        loader=PackageLoader("safedeploy.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(words=words, strongest=strongest, bundle_file=bundle_file, most_classes=figures.MOST_CLASSES)
    return made


def _roc_lines(evidence: Evidence, dense: Evidence | DenseControl | None) -> tuple[figures.Line, ...]:
    """The strongest black-box and the strongest white-box attack on each model."""
    models: tuple[tuple[figures.Model, Evidence | DenseControl | None], ...] = (("shipped", evidence), ("dense", dense))
    lines = []
    for model, audit in models:
        for access in ACCESSES:
            attack = strongest([attack for attack in audit.attacks if attack.access == access]) if audit else None
            if attack is not None:
                lines.append(figures.Line(model, attack))
    return tuple(lines)


def _histograms(
    evidence: Evidence, dense: Evidence | DenseControl | None, key: str
) -> tuple[tuple[str, str, Markup], ...]:
    """(whose model, attack, figure) of the attack the verdict names, and of the strongest on the dense control."""
    found = []
    shipped = "compressed model" if dense else "file"
    for name, model, worst in (
        (f"{key}scores", shipped, decisive(evidence)),
        (f"{key}dense-scores", "dense control", strongest(dense.attacks) if dense else None),
    ):
        if worst is not None:
            found.append((model, worst.name, Markup(figures.histogram_figure(worst, name, model))))
    return tuple(found)
