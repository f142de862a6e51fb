"""Differences between audited files as sentences and tables: does the second leak more than the first?"""

from collections.abc import Sequence
from dataclasses import dataclass

from safedeploy.report import words
from safedeploy.report.evidence_tables import Table
from safedeploy.report.table import Cell
from safedeploy.results import Comparison, Evidence


@dataclass(frozen=True)
class Compared:
    """Files beside the first: a sentence each, the table under it, and one of every other attack."""

    sentences: tuple[str, ...]
    told: Table
    every: Table


def compared(comparisons: Sequence[Comparison], evidence: Sequence[Evidence]) -> Compared | None:
    """None where nothing was compared. `evidence` on the same samples: of a rate they do not resolve nothing is said.

    Words are said of one attack a pair of files, that with the highest mean AUC on the two: picked so, a difference in
    either direction is as likely, and there is no choice among many tests. The other attacks' stand without words.
    """
    if not comparisons:
        return None
    pairs = list(dict.fromkeys((one.first, one.second) for one in comparisons))
    name = short_names([path for pair in pairs for path in pair])
    points = [point for one in evidence for attack in one.attacks for point in attack.tpr]
    resolved = {"auc", *(f"tpr@{point.fpr:g}" for point in points if point.resolvable)}
    told, sentences = [], []
    for pair in pairs:
        rows = [one for one in comparisons if (one.first, one.second) == pair]
        areas = [one for one in rows if one.figure == "auc"]
        leading = max(areas, key=lambda one: (one.first_value + one.second_value, one.attack))
        sentences.append(_sentence(leading, name))
        told += [one for one in rows if one.attack == leading.attack and one.figure in resolved]
    heads = ("File", "Compared with", "Attack", "Figure", "Values", "Difference")
    return Compared(
        tuple(sentences),
        Table((*heads, "In words"), tuple((*_cells(one, name), Cell(direction(one).capitalize())) for one in told)),
        Table(heads, tuple(_cells(one, name) for one in comparisons)),
    )


def direction(one: Comparison) -> str:
    """What the 95 % interval of the difference says."""
    return "leaks more" if one.low > 0 else "leaks less" if one.high < 0 else "no difference shown"


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Files by their names, as far as those tell them apart; else by as many folders more as it takes."""
    distinct = list(dict.fromkeys(paths))
    most = max((path.count("/") for path in distinct), default=0) + 1
    for parts in range(1, most + 1):
        named = {path: "/".join(path.split("/")[-parts:]) for path in distinct}
        if len(set(named.values())) == len(distinct):
            return named
    return {path: path for path in distinct}


def audit_names(evidence: Sequence[Evidence]) -> list[str]:
    """What to call each audited file; one given twice keeps its name."""
    named = short_names([one.artifact.path for one in evidence])
    return [named[one.artifact.path] for one in evidence]


def _sentence(one: Comparison, name: dict[str, str]) -> str:
    figure = f"{one.attack}, AUC {words.signed(one.difference)} {_interval(one)}, {words.probability(one.p)}"
    match direction(one):
        case "no difference shown":
            return f"Between {name[one.second]} and {name[one.first]} no difference is shown ({figure})."
        case found:
            return f"{name[one.second]} {found} than {name[one.first]} ({figure})."


def _cells(one: Comparison, name: dict[str, str]) -> tuple[Cell, ...]:
    area = one.figure == "auc"
    values = [f"{value:.3f}" if area else words.percent(value) for value in (one.first_value, one.second_value)]
    difference = words.signed(one.difference) if area else f"{words.signed(100 * one.difference, 1)} points"
    return (
        Cell(name[one.second]),
        Cell(name[one.first]),
        Cell(one.attack),
        Cell(words.figure(one.figure)),
        Cell(f"{values[1]} against {values[0]}"),
        Cell(difference, _interval(one), words.probability(one.p)),
    )


def _interval(one: Comparison) -> str:
    if one.figure == "auc":
        return f"[{words.signed(one.low)}, {words.signed(one.high)}]"
    return f"[{words.signed(100 * one.low, 1)}, {words.signed(100 * one.high, 1)}]"
