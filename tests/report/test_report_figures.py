"""Claims about the figures: well-formed, deterministic, their own ids, text kept as text."""

from xml.etree import ElementTree as ET

import pytest

from safedeploy.report import figures
from safedeploy.report.contents import Contents
from safedeploy.results import ClassLeakage


@pytest.fixture(scope="module")
def drawn(contents: Contents) -> dict[str, str]:
    evidence, dense = contents.shipped.evidence["model.onnx"], contents.dense_audit("model.onnx")
    assert dense is not None
    lines = [figures.Line("shipped", attack) for attack in evidence.attacks]
    lines += [figures.Line("dense", attack) for attack in dense.attacks]
    return {
        "roc": figures.roc_figure(lines, evidence.samples.nonmembers),
        "scores": figures.histogram_figure(evidence.worst, "scores", "compressed model"),
        "classes": figures.class_figure(evidence.worst.per_class),
    }


def test_each_figure_parses_and_names_itself(drawn: dict[str, str]) -> None:
    for name, svg in drawn.items():
        root = ET.fromstring(svg)
        ids = {element.attrib["id"] for element in root.iter() if "id" in element.attrib}
        assert root.tag == "svg"
        assert root.attrib["aria-labelledby"].split() == [f"{name}-title", f"{name}-text"]
        assert {f"{name}-title", f"{name}-text"} <= ids
        assert root[0].tag == "title"
        assert root[0].text


def test_ids_of_one_figure_do_not_meet_anothers(drawn: dict[str, str]) -> None:
    for name, svg in drawn.items():
        root = ET.fromstring(svg)
        ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
        links = [element.attrib["href"] for element in root.iter() if "href" in element.attrib]
        assert len(ids) == len(set(ids))
        assert all(one.startswith(f"{name}-") for one in ids)
        assert all(link.removeprefix("#") in ids for link in links)


def test_text_stays_text_and_colours_follow_the_page(drawn: dict[str, str]) -> None:
    for svg in drawn.values():
        assert "<text" in svg
        assert "font-family" not in svg
        assert "<style" not in svg
        assert "var(--ink" in svg or "var(--muted" in svg


def test_white_box_is_told_from_black_box_without_colour(contents: Contents) -> None:
    evidence = contents.shipped.evidence["model.onnx"]
    black = next(attack for attack in evidence.attacks if attack.access == "black")
    white = next(attack for attack in evidence.attacks if attack.access == "white")

    def curve(svg: str) -> str:
        [style] = [line for line in svg.splitlines() if "<path" in line and "--shipped" in line]
        return style

    assert "stroke-dasharray" not in curve(figures.roc_figure([figures.Line("shipped", black)], 2000))
    assert "stroke-dasharray" in curve(figures.roc_figure([figures.Line("shipped", white)], 2000))


def test_class_names_are_drawn_as_they_are() -> None:
    leak = {"members": 60, "nonmembers": 60, "auc": 0.6, "auc_low": 0.5, "auc_high": 0.7}
    names = ["$x^2$", "<script>", "a & b"]

    svg = figures.class_figure([ClassLeakage(label=name, **leak) for name in names])

    texts = [element.text for element in ET.fromstring(svg).iter("text")]
    assert set(names) <= set(texts)


def test_only_the_worst_classes_are_drawn_where_there_are_many() -> None:
    many = [
        ClassLeakage(
            label=f"class {index}", members=60, nonmembers=60, auc=0.5 + index / 400, auc_low=0.45, auc_high=0.9
        )
        for index in range(100)
    ]

    labels = [element.text for element in ET.fromstring(figures.class_figure(many)).iter("text")]
    drawn = [label for label in labels if label and label.startswith("class ")]

    assert len(drawn) == figures.MOST_CLASSES
    assert set(drawn) == {f"class {index}" for index in range(100 - figures.MOST_CLASSES, 100)}


def test_long_class_names_keep_both_ends() -> None:
    leak = {"members": 60, "nonmembers": 60, "auc": 0.6, "auc_low": 0.5, "auc_high": 0.7}
    names = [f"a class with the long name number {index}" for index in range(10, 20)]

    svg = figures.class_figure([ClassLeakage(label=name, **leak) for name in names])

    drawn = [element.text for element in ET.fromstring(svg).iter("text") if "…" in (element.text or "")]
    assert len(set(drawn)) == len(names)
