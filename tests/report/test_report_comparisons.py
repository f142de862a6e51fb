"""Claims about differences in words: only an interval that leaves out 0 says that a file leaks more or less."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safedeploy.report.comparisons import compared, direction, short_names
from safedeploy.results import Comparison, Evidence


def row(
    second: str, attack: str, difference: float, half: float, first: float = 0.6, figure: str = "auc"
) -> Comparison:
    return Comparison(
        first="b/model.onnx",
        second=second,
        attack=attack,
        figure=figure,
        first_value=first,
        second_value=first + difference,
        difference=difference,
        low=difference - half,
        high=difference + half,
        p=0.5,
    )


@pytest.mark.parametrize(
    ("difference", "half", "words"),
    [
        (0.1, 0.05, "leaks more"),
        (-0.1, 0.05, "leaks less"),
        (0.1, 0.2, "no difference shown"),
        (0.0, 0.0, "no difference shown"),
    ],
)
def test_the_interval_decides_the_words(difference: float, half: float, words: str) -> None:
    assert direction(row("b/model.int8.onnx", "loss", difference, half)) == words


def test_the_sentence_is_of_the_attack_that_is_strongest_on_both_files_together() -> None:
    rows = [
        row("b/model.int8.onnx", "loss", -0.30, 0.1, first=0.80),  # the first file's strongest, by luck
        row("b/model.int8.onnx", "entropy", 0.00, 0.1, first=0.75),
    ]

    found = compared(rows, [])

    assert found is not None
    [sentence] = found.sentences
    assert sentence.startswith("Between model.int8.onnx and model.onnx no difference is shown (entropy, AUC +0.000")
    assert len(found.every.rows) == 2
    assert [each[2].text for each in found.told.rows] == ["entropy"]


def test_every_file_has_its_own_sentence_against_the_first() -> None:
    found = compared([row("c/model.onnx", "loss", 0.1, 0.05), row("b/model.pte", "loss", -0.1, 0.05)], [])

    assert found is not None
    assert [sentence.split(" (")[0] for sentence in found.sentences] == [
        "c/model.onnx leaks more than b/model.onnx",
        "b/model.pte leaks less than b/model.onnx",
    ]


def test_rates_differ_by_percentage_points_and_one_that_is_not_resolvable_is_not_told(
    make_evidence: Callable[..., Evidence],
) -> None:
    rows = [row("b/m.onnx", "loss", 0.0, 0.1)]
    rows += [row("b/m.onnx", "loss", -0.02, 0.01, first=0.1, figure=figure) for figure in ("tpr@0.01", "tpr@0.001")]

    found = compared(rows, [make_evidence("model.onnx")])  # 2,000 non-members resolve 1 %, and not 0.1 %

    assert found is not None
    assert len(found.told.rows) == 2
    assert len(found.every.rows) == 3
    assert str(found.told.rows[1][5]) == "\u22122.0 points [\u22123.0, \u22121.0]"
    assert found.told.rows[1][6].text == "Leaks less"


def test_nothing_compared_is_nothing_said() -> None:
    assert compared([], []) is None


@given(st.lists(st.text("ab/", min_size=1, max_size=6), min_size=1, max_size=5))
def test_short_names_tell_every_two_files_apart(paths: list[str]) -> None:
    names = short_names(paths)

    assert set(names) == set(paths)
    assert len(set(names.values())) == len(set(paths))
    assert all(path.endswith(name) for path, name in names.items())
