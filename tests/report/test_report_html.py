"""Claims about the page: well-formed, self-contained, safe with any name, whole with parts missing."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from html_page import Page, asks_for_nothing, is_whole, squeeze

from safedeploy.report.contents import Contents
from safedeploy.report.html import render_html
from safedeploy.report.table import glance
from safedeploy.results import Timing


@pytest.fixture(scope="module")
def html(contents: Contents) -> str:
    return render_html(contents)


def without(contents: Contents, part: str) -> Contents:
    empty = {"evidence": {}, "timing": {}, "manifest": None, "summary": None}
    if part == "dense":
        return replace(contents, models=contents.models[:1])
    if part == "recipe":
        return replace(contents, recipe_toml="", versions={})
    return replace(contents, models=tuple(replace(model, **{part: empty[part]}) for model in contents.models))


def test_the_page_is_well_formed_and_its_ids_are_its_own(html: str) -> None:
    is_whole(html)


def test_the_page_asks_for_nothing_and_runs_nothing(html: str) -> None:
    asks_for_nothing(html)
    assert "img" not in Page(html).tags


def test_the_same_contents_give_the_same_page(contents: Contents, html: str) -> None:
    assert render_html(contents) == html


def test_the_verdict_comes_first_and_in_one_sentence(contents: Contents, html: str) -> None:
    file = contents.headline
    assert file is not None
    worst = contents.shipped.evidence[file].worst

    [sentence] = re.findall(r'<p class="sentence">(.*?)</p>', html)

    assert sentence.startswith(f"{file} stays within its privacy budget")
    assert f"AUC {worst.auc:.3f} [{worst.auc_low:.3f}, {worst.auc_high:.3f}]" in sentence
    assert html.index(sentence) < html.index('id="glance"')


def test_without_a_budget_the_page_says_so_and_what_the_strongest_attack_reaches(
    make_contents: Callable[..., Contents],
) -> None:
    text = Page(render_html(make_contents())).text

    assert "No budget given" in text
    assert "No privacy budget was given for" in text


def test_every_figure_of_the_glance_is_on_the_page(contents: Contents, html: str) -> None:
    text = Page(html).text

    for row in glance(contents):
        for cell in row.cells:
            assert squeeze(str(cell)) in text


def test_every_attack_stands_with_counts_and_null_band(contents: Contents, html: str) -> None:
    text = Page(html).text

    for model in contents.models:
        for evidence in model.evidence.values():
            for attack in evidence.attacks:
                assert f"{attack.auc:.3f} [{attack.auc_low:.3f}, {attack.auc_high:.3f}]" in text
                for point in attack.tpr:
                    counts = (
                        f"{point.true_positives:,} of 2,000 members at {point.false_positives:,} of 2,000 non-members"
                    )
                    assert counts in text
    assert "not resolvable" in text
    assert "chance, which reaches" in text
    assert "an ExecuTorch file does not show its inner activations" in text


def test_sizes_devices_and_provenance_are_named(contents: Contents, html: str) -> None:
    text = Page(html).text
    assert contents.shipped.summary is not None
    assert contents.shipped.manifest is not None

    for words in ("Disk size", "Download size (zip, level 9)", "Peak resident memory", "which is not a phone"):
        assert words in text
    assert contents.shipped.summary.fingerprint in text
    for file in contents.shipped.manifest.files:
        assert file.sha256 in text
    assert squeeze(contents.recipe_toml) in text


def test_names_and_recipe_cannot_inject_markup(make_contents: Callable[..., Contents]) -> None:
    evil = '<script>alert("x")</script>'
    contents = make_contents(classes=(evil, "plain"), files=("model.onnx",))
    contents = replace(contents, title=evil, recipe_toml=f'name = "{evil}"', versions={evil: evil})

    html = render_html(contents)

    assert "script" not in Page(html).tags
    assert "<script" not in html
    assert evil in Page(html).text


@pytest.mark.parametrize("part", ["recipe", "evidence", "timing", "manifest", "summary", "dense"])
def test_the_page_is_whole_with_a_part_missing(contents: Contents, part: str) -> None:
    page = Page(render_html(without(contents, part)))

    assert page.text
    assert "None" not in page.text.replace("None recorded.", "").replace("None: every", "")


@pytest.mark.parametrize(
    ("part", "command"),
    [
        ("evidence", "safedeploy audit runs/fashion/bundle/android/model.onnx"),
        ("timing", "safedeploy bench runs/fashion/bundle/android/model.onnx"),
        ("manifest", "safedeploy export runs/fashion --target android"),
        ("summary", "safedeploy compress --resume runs/fashion"),
    ],
)
def test_a_missing_part_says_what_to_run(contents: Contents, part: str, command: str) -> None:
    assert command in Page(render_html(without(contents, part))).text


def test_a_run_with_nothing_but_a_recipe_makes_a_page(contents: Contents) -> None:
    bare = replace(contents.shipped, summary=None, manifest=None, evidence={}, timing={})

    text = Page(render_html(replace(contents, models=(bare,), versions={}))).text

    assert "There is no verdict yet" in text
    assert "safedeploy export runs/fashion --target android" in text


def test_an_emulated_run_shows_no_speed(contents: Contents, make_timing: Callable[..., Timing]) -> None:
    emulated = make_timing("model.onnx", device="qemu-arm64")
    model = replace(contents.shipped, timing={"model.onnx": emulated})

    text = Page(render_html(replace(contents, models=(model,)))).text

    assert "not a speed: emulated" in text
    assert "0.212" not in text


def test_an_audit_of_another_file_than_the_bundles_is_flagged(contents: Contents) -> None:
    manifest = contents.shipped.manifest
    assert manifest is not None
    files = [one.model_copy(update={"sha256": "0" * 64}) for one in manifest.files]
    changed = replace(contents.shipped, manifest=manifest.model_copy(update={"files": files}))

    assert (
        "is of another file than the bundle now holds" in Page(render_html(replace(contents, models=(changed,)))).text
    )


def test_tables_have_scoped_headers(html: str) -> None:
    headers = re.findall(r"<th\b[^>]*>", html)

    assert headers
    assert all('scope="' in header for header in headers)
