"""What differential privacy promises stands in the table where a model was trained so, and nowhere else."""

from dataclasses import replace

from safedeploy.report.contents import Contents
from safedeploy.report.html import render_html
from safedeploy.report.table import glance
from safedeploy.results import DpGuarantee


def with_guarantee(contents: Contents) -> Contents:
    shipped = contents.models[0]
    assert shipped.summary is not None
    promised = DpGuarantee(epsilon=3.987, delta=1e-4, noise_multiplier=1.234, clip=0.5)
    summary = shipped.summary.model_copy(update={"guarantee": promised})
    return replace(contents, models=(replace(shipped, summary=summary), *contents.models[1:]))


def test_epsilon_at_delta_with_its_noise(contents: Contents) -> None:
    [row] = [row for row in glance(with_guarantee(contents)) if row.key == "private"]
    assert str(row.cells[0]) == "ε 3.99 at δ 0.0001"
    assert row.cells[0].note == "of training, for one member; noise 1.23 × clip 0.5"
    assert not row.cells[1].known
    assert row.cells[1].command == ""


def test_there_is_no_row_where_nothing_is_promised(contents: Contents) -> None:
    assert not [row for row in glance(contents) if row.key == "private"]


def test_the_page_for_people_says_it_too(contents: Contents) -> None:
    assert "ε 3.99 at δ 0.0001" in render_html(with_guarantee(contents))
    assert "Differential privacy" not in render_html(contents)
