"""The report as one self-contained HTML page: no script, no request, figures inline."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

from safedeploy.report import words
from safedeploy.report.checks import checks_sentence, checks_table
from safedeploy.report.contents import Contents
from safedeploy.report.evidence_tables import Table, attack_tables
from safedeploy.report.table import Row, glance, missing
from safedeploy.report.view import environment, view
from safedeploy.results import AttackEvidence, DenseControl, Evidence

TILES = ("auc", "accuracy", "download", "p50")


@dataclass(frozen=True)
class Audited:
    """One audit to tabulate: what to read first of its attacks, and further figures. `whose` is the model's label."""

    whose: str
    file: str
    attacks: list[AttackEvidence]
    tables: tuple[Table, Table]


def render_html(contents: Contents, thumbnails: Mapping[int, bytes] | None = None) -> str:
    """The whole page. Equal contents give equal bytes. `thumbnails`: PNGs of exposed members by their index."""
    rows = glance(contents)
    file = contents.headline
    evidence = contents.shipped.evidence[file] if file else None
    dense = contents.dense_audit(file) if file else None
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            contents=contents,
            file=file,
            evidence=evidence,
            view=view(evidence, dense, thumbnails=thumbnails) if evidence else None,
            headline=words.headline(contents),
            groups=[list(group) for _, group in groupby(rows, key=lambda row: row.group)],
            device=_this_machine(contents),
            tiles=_tiles(rows, file or (contents.files[0] if contents.files else "")),
            missing=missing(rows),
            checks=[
                (model, checks_sentence(found), checks_table(found))
                for model in contents.models
                if (found := model.verification) is not None
            ],
            audits=_audits(contents),
            unrun=[(name, attack) for name, audit in contents.shipped.evidence.items() for attack in audit.not_run],
        )
    )


def _tiles(rows: list[Row], file: str) -> list[Row]:
    """The four figures of the file the verdict rests on, from the at-a-glance table."""
    return [row for key in TILES for row in rows if row.key == key and row.file == file]


def _this_machine(contents: Contents) -> str:
    """What the timings call 'this machine', where they all agree and know it; else empty."""
    timings = [timing for model in contents.models for timing in model.timing.values() if timing.device == "local"]
    names = {words.processor(timing) for timing in timings}
    return names.pop() if len(names) == 1 else ""


def _audits(contents: Contents) -> list[Audited]:
    """Every audit of every model, the one the verdict rests on first."""
    found = []
    for name in sorted(contents.files, key=lambda name: name != contents.headline):
        evidence, dense = contents.shipped.evidence.get(name), contents.dense_audit(name)
        if evidence is not None:
            found.append(_audited(contents.shipped.label, name, evidence, evidence))
        judged = dense if isinstance(dense, Evidence) else evidence
        if dense is not None and judged is not None:
            found.append(_audited("dense control", name, dense, judged))
    return found


def _audited(whose: str, file: str, audit: Evidence | DenseControl, judged: Evidence) -> Audited:
    samples = judged.samples
    tables = attack_tables(audit.attacks, samples.members, samples.nonmembers, judged.verdict.budget)
    return Audited(whose, file, audit.attacks, tables)
