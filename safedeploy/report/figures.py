"""The report's figures as inline SVG: deterministic, text kept as text, colours from the page's custom properties."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from safedeploy.report import words
from safedeploy.results import Access, AttackEvidence, ClassLeakage, NullBand
from safedeploy.roc import EXPECTED_FALSE_POSITIVES

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"

# Okabe & Ito's colour-blind-safe hues; each stands for a custom property of the page.
COLOURS = {
    "ink": "#1c2430",
    "muted": "#5d6875",
    "rule": "#d9dde2",
    "paper": "#fefefe",
    "shade": "#eef0f3",
    "shipped": "#0072b2",
    "dense": "#c4570a",
    "members": "#00805e",
    "nonmembers": "#4a4453",
}
STYLES: dict[Access, Any] = {"black": "-", "white": (0, (4.5, 2.0))}
WIDTH = 4.1  # inches: a phone's width at one to one, so that text stays readable there
MOST_CLASSES = 30

Model = Literal["shipped", "dense"]


@dataclass(frozen=True)
class Line:
    """One attack's ROC curve, and whose model it attacks."""

    model: Model
    attack: AttackEvidence


def roc_figure(lines: Sequence[Line], nonmembers: int, null: NullBand | None = None, name: str = "roc") -> str:
    """True- over false-positive rate on log axes, from one in `nonmembers` up; shaded where too few are expected.

    Short bars: what guessing reaches in 1 audit of 20, the best of all attacks where `null` knows. `name`: its id.
    """
    figure, axes = _canvas(4.3)
    left = 0.8 / max(nonmembers, 2)
    resolvable = EXPECTED_FALSE_POSITIVES / nonmembers
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(left, 1)
    axes.set_ylim(left, 1)
    axes.axvspan(left, min(resolvable, 1), color=COLOURS["shade"], lw=0, zorder=0)
    axes.plot([left, 1], [left, 1], color=COLOURS["muted"], lw=0.9, dashes=(1, 2), zorder=1)
    for line in sorted(lines, key=lambda line: line.model):
        fpr, tpr = np.asarray(line.attack.roc.fpr), np.asarray(line.attack.roc.tpr)
        drawn = (fpr > 0) & (tpr > 0)
        [curve] = axes.plot(fpr[drawn], tpr[drawn], color=COLOURS[line.model], lw=1.7, zorder=3, drawstyle="steps-post")
        curve.set_linestyle(STYLES[line.attack.access])
    for at, high in _chance(lines[0].attack, null):
        if high > 0 and at > left:
            axes.plot([at], [high], marker="_", ms=9, mew=1.6, color=COLOURS["ink"], zorder=4, ls="")
    small: dict[str, Any] = {"color": COLOURS["muted"], "fontsize": 8, "va": "top"}
    axes.text(left * 1.25, 0.72, f"fewer than\n{EXPECTED_FALSE_POSITIVES} false\npositives", linespacing=1.3, **small)
    axes.text(0.055, 0.036, "chance", **small)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(numticks=10))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: words.rate(value)))
    axes.set_xlabel("False-positive rate (non-members called members)")
    axes.set_ylabel("True-positive rate")
    axes.grid(color=COLOURS["rule"], lw=0.6)
    named = ", ".join(f"{line.attack.name} on the {line.model} model (AUC {words.auc(line.attack)})" for line in lines)
    return _svg(figure, name, "ROC curves on logarithmic axes", f"{named}. The dotted diagonal is chance.")


def _chance(attack: AttackEvidence, null: NullBand | None) -> list[tuple[float, float]]:
    """(FPR, TPR) that scores which know nothing stay below in 95 audits of 100."""
    if null is None:
        return [(point.fpr, point.null_high) for point in attack.tpr]
    named = [(figure.figure.removeprefix("tpr@"), figure.high) for figure in null.figures if figure.figure != "auc"]
    return [(float(fpr), high) for fpr, high in named]


def histogram_figure(attack: AttackEvidence, name: str, model: str) -> str:
    """Share of members and of non-members in each score bin."""
    figure, axes = _canvas(2.2)
    counts = attack.histogram
    edges = np.asarray(counts.edges)
    for values, hue, filled in ((counts.members, "members", True), (counts.nonmembers, "nonmembers", False)):
        shares = np.asarray(values) / max(sum(values), 1)
        look: dict[str, Any] = {"fill": True, "lw": 0, "alpha": 0.55} if filled else {"lw": 1.4}
        axes.stairs(shares, edges, color=COLOURS[hue], **look)
    axes.set_xlim(edges[0], edges[-1])
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g}{words.NBSP}%"))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set_xlabel("Attack score (higher: more likely a member)")
    axes.set_ylabel("Share of samples")
    axes.grid(axis="y", color=COLOURS["rule"], lw=0.6)
    text = f"Scores of {attack.name} on the {model}: members filled, non-members outlined."
    return _svg(figure, name, f"Scores of members and non-members, {model}", text)


def class_figure(classes: Sequence[ClassLeakage], name: str = "classes") -> str:
    """AUC within each class as a bar from 0.5 with its 95 % interval, worst first, the worst `MOST_CLASSES` only.

    `name`: the figure's id.
    """
    shown = sorted(classes, key=lambda one: (-one.auc, one.label))[:MOST_CLASSES]
    figure, axes = _canvas(0.6 + 0.27 * max(len(shown), 2))
    at = np.arange(len(shown))[::-1]
    values = np.array([one.auc for one in shown])
    low, high = np.array([one.auc_low for one in shown]), np.array([one.auc_high for one in shown])
    axes.barh(at, values - 0.5, left=0.5, height=0.62, color=COLOURS["shipped"], alpha=0.45, lw=0)
    axes.hlines(at, low, high, color=COLOURS["ink"], lw=1.1)
    for end in (low, high):
        axes.plot(end, at, marker="|", ms=5, mew=1.1, color=COLOURS["ink"], ls="")
    axes.axvline(0.5, color=COLOURS["muted"], lw=0.9, dashes=(1, 2))
    # a '$' in a class name must not start a formula
    axes.set_yticks(at, [_short(one.label) for one in shown], parse_math=False)
    axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_xlim(min(0.4, float(low.min()) - 0.02), min(1.0, max(0.6, float(high.max()) + 0.02)))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.set_xlabel("AUC within the class (0.5: a coin toss)")
    axes.grid(axis="x", color=COLOURS["rule"], lw=0.6)
    axes.spines["left"].set_visible(False)
    worst = shown[0]
    figure_of_worst = f"AUC {worst.auc:.3f} {words.interval(worst.auc_low, worst.auc_high)}"
    text = f"Worst: {worst.label}, {figure_of_worst}; {len(shown)} classes shown."
    return _svg(figure, name, "Leakage within each class", text)


def _canvas(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    axes.set_axisbelow(True)
    axes.tick_params(colors=COLOURS["muted"], labelsize=9, length=0, pad=4)
    axes.xaxis.label.set(color=COLOURS["muted"], size=9)
    axes.yaxis.label.set(color=COLOURS["muted"], size=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set(color=COLOURS["rule"], linewidth=0.8)
    return figure, axes


def _short(label: str) -> str:
    return label if len(label) <= 18 else f"{label[:8].rstrip()}…{label[-9:].lstrip()}"


def _svg(figure: Figure, name: str, title: str, text: str) -> str:
    """The figure as an <svg> that scales with its column, names itself and takes the page's colours."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        FigureCanvasSVG(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ET.fromstring(buffer.getvalue())
    _strip(root)
    for element in root.iter():
        _adopt(element, name)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "class": "figure",
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-text",
        "stroke-linejoin": "round",
        "stroke-linecap": "butt",
    }
    for tag, content in (("desc", text), ("title", title)):
        element = ET.Element(f"{SVG}{tag}", {"id": f"{name}-{'text' if tag == 'desc' else 'title'}"})
        element.text = content
        root.insert(0, element)
    return _plain(ET.tostring(root, encoding="unicode"))


def _strip(root: ET.Element) -> None:
    """Without metadata, and without the stylesheet, whose '*' rule would reach the whole page."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{SVG}metadata", f"{SVG}style"):
                parent.remove(child)
            elif child.tag == f"{SVG}defs":
                for style in child.findall(f"{SVG}style"):
                    child.remove(style)


def _adopt(element: ET.Element, name: str) -> None:
    """Make ids the figure's own, links plain, fonts the page's and colours its custom properties."""
    for key, value in list(element.attrib.items()):
        if key == "id":
            element.set("id", f"{name}-{value}")
        elif key == f"{XLINK}href":
            del element.attrib[key]
            element.set("href", value.replace("#", f"#{name}-"))
        elif key in ("style", "clip-path", "fill", "stroke"):
            value = value.replace("url(#", f"url(#{name}-")
            value = re.sub(r"font-family: [^;]*; ?", "", value)
            for property_, colour in COLOURS.items():
                value = value.replace(colour, f"var(--{property_}, {colour})")
            element.set(key, value)


def _plain(text: str) -> str:
    """Without namespace prefixes and declarations, which HTML does not know."""
    text = re.sub(r"<(/?)ns\d+:", r"<\1", text)
    return re.sub(r'\sxmlns(?::\w+)?="[^"]*"', "", text)
