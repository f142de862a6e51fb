"""Claims about the page of one audit or several: whole, self-contained, the decision first, all the evidence below."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from html_page import Page, asks_for_nothing, is_whole

from safedeploy.report import words
from safedeploy.report.audit_html import audit_html
from safedeploy.report.contents import Contents
from safedeploy.report.html import render_html
from safedeploy.report.thumbnails import exposed_indices, png
from safedeploy.results import AttackNotRun, Evidence

if TYPE_CHECKING:
    from safedeploy.auditing import Audits


@pytest.fixture(scope="module")
def html(audits: "Audits") -> str:
    return audit_html(audits.evidence, audits.comparisons)


@pytest.fixture(scope="module")
def thumbnails(audits: "Audits") -> dict[int, bytes]:
    draw = np.random.default_rng(0)
    return {index: png(draw.random((3, 8, 8))) for index in exposed_indices(audits.evidence)}


def test_the_page_is_whole_and_asks_for_nothing(html: str) -> None:
    is_whole(html)
    asks_for_nothing(html)


def test_the_decision_is_the_first_thing_then_the_differences_then_each_file(audits: "Audits", html: str) -> None:
    text = Page(html).text

    order = [
        "Over budget",
        "exceeds its privacy budget",
        "What to do.",
        "Do not ship this file",
        "Differences between the files",
        "Every file's verdict",
        "model.onnx: what leaks",
        "model.int8.onnx: what leaks",
    ]
    places = [text.index(one) for one in order]
    assert places == sorted(places)


def test_one_file_has_no_differences_and_no_list_of_verdicts(audits: "Audits") -> None:
    text = Page(audit_html(audits.evidence[:1], [])).text

    assert "Differences between the files" not in text
    assert "Every file's verdict" not in text


def test_every_file_shows_its_evidence(audits: "Audits", html: str) -> None:
    text = Page(html).text

    for one in audits.evidence:
        assert one.artifact.sha256 in text
        for attack in one.attacks:
            assert f"{attack.auc:.3f} [{attack.auc_low:.3f}, {attack.auc_high:.3f}]" in text
            assert f"together [{attack.auc_joint_low:.3f}, {attack.auc_joint_high:.3f}]" in text
            assert attack.own_cut is not None
            assert f"{attack.own_cut.advantage:.3f} [{attack.own_cut.low:.3f}, {attack.own_cut.high:.3f}]" in text
            assert attack.hardest is not None
            assert f"{attack.hardest.auc:.3f} [" in text
    for said in ("the best of 2 attacks", "A/A control", "References control", "Most exposed members"):
        assert said in text
    assert "With other numbers of reference models" in text


def test_notes_and_attacks_not_run_are_on_the_page(audits: "Audits") -> None:
    unrun = [AttackNotRun(name="neural-white", access="white", reason="the op Foo is not known")]
    noted = audits.evidence[0].model_copy(update={"notes": ["the answers are probabilities"], "not_run": unrun})

    text = Page(audit_html([noted], [])).text

    assert "Note. the answers are probabilities" in text
    assert "neural-white model.onnx white box the op Foo is not known" in text


def test_equal_results_give_equal_bytes(audits: "Audits", html: str) -> None:
    assert audit_html(audits.evidence, audits.comparisons) == html


def test_a_file_of_an_earlier_version_still_makes_a_page(make_evidence: Callable[..., Evidence]) -> None:
    page = is_whole(audit_html([make_evidence("model.onnx", budget={"auc": 0.6}), make_evidence("model.pte")], []))

    assert "None" not in page.text.replace("None: every", "")


def test_names_cannot_inject_markup(audits: "Audits") -> None:
    evil = '<script>alert("x")</script>'
    one = audits.evidence[0]
    attacks = [one.attacks[0].model_copy(update={"name": evil}), *one.attacks[1:]]
    verdict = one.verdict.model_copy(update={"worst_attack": evil, "reason": evil})
    info = one.artifact.model_copy(update={"path": f"{evil}.onnx"})
    changed = {"attacks": attacks, "verdict": verdict, "artifact": info, "notes": [evil]}

    html = audit_html([one.model_copy(update=changed)], [])

    assert "<script" not in html
    assert evil in Page(html).text


def test_pictures_of_exposed_members_are_shown_only_where_they_are_given(
    audits: "Audits", html: str, thumbnails: dict[int, bytes]
) -> None:
    given = audit_html(audits.evidence, audits.comparisons, thumbnails)

    assert "img" not in Page(html).tags
    assert Page(given).tags.count("img") == sum(len(one.worst.exposed) for one in audits.evidence)
    asks_for_nothing(given)


def test_the_report_of_a_run_shows_them_too(
    audits: "Audits", make_contents: Callable[..., Contents], thumbnails: dict[int, bytes]
) -> None:
    from dataclasses import replace

    contents = make_contents(files=("model.onnx",))
    model = replace(contents.shipped, evidence={"model.onnx": audits.evidence[0]})

    page = is_whole(render_html(replace(contents, models=(model,)), thumbnails))

    assert page.tags.count("img") == len(audits.evidence[0].worst.exposed)
    assert "Do not ship this file" in page.text
    assert "With other numbers of reference models" in page.text


def test_the_tile_of_found_members_is_at_the_budgets_rate_or_the_lowest_that_the_samples_resolve(
    audits: "Audits",
) -> None:
    one = audits.evidence[0]
    assert one.verdict.budget["tpr@0.1"]
    free = one.verdict.model_copy(update={"budget": {"auc": 0.6}})
    asked = one.verdict.model_copy(update={"budget": {"tpr@0.001": 0.5}})

    lowest = Page(audit_html([one.model_copy(update={"verdict": free})], [])).text
    named = Page(audit_html([one.model_copy(update={"verdict": asked})], [])).text

    assert "Members found at 10 % false alarms 100.0 %" in lowest.replace(words.NBSP, " ")
    assert "Members found at 0.1 % false alarms not resolvable" in named.replace(words.NBSP, " ")


def test_of_many_attacks_the_weaker_ones_are_folded_away_and_still_there(audits: "Audits") -> None:
    one = audits.evidence[0]
    crowd = [one.attacks[0].model_copy(update={"name": f"attack-{number}", "auc": 0.4}) for number in range(20)]

    text = Page(audit_html([one.model_copy(update={"attacks": [*one.attacks, *crowd]})], [])).text

    assert "10 weaker attacks" in text
    assert all(attack.name in text for attack in crowd)
