"""Claims about the page: well-formed, self-contained, safe with any name, whole with parts missing."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from safedeploy.report.contents import Contents
from safedeploy.report.html import render_html
from safedeploy.report.table import glance
from safedeploy.results import Timing

VOID = {"meta", "link", "br", "hr", "img", "input", "col", "wbr"}


class Page(HTMLParser):
    """Keeps text, attributes and ids, and fails on a tag that is not closed in its place."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def squeeze(text: str) -> str:
    return " ".join(text.split())


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
    page = Page(html)

    assert html.startswith("<!DOCTYPE html>")
    assert len(page.ids) == len(set(page.ids))
    for _, name, value in page.attributes:
        if name in ("aria-labelledby", "href"):
            assert all(one.removeprefix("#") in page.ids for one in value.split())


def test_the_page_asks_for_nothing_and_runs_nothing(html: str) -> None:
    page = Page(html)

    assert not {"script", "link", "iframe", "object", "embed", "img"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    for _, name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert value.startswith("#")
    assert "://" not in html
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)


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
