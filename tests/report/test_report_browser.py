"""The page in a real browser: fits a phone's width, is drawn, and prints."""

import html as markup
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from safedeploy.report.audit_html import audit_html
from safedeploy.report.contents import Contents
from safedeploy.report.html import render_html
from safedeploy.report.thumbnails import exposed_indices, png

if TYPE_CHECKING:
    from safedeploy.auditing import Audits

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
PHONE = 375

# What lies outside the viewport and not inside a container that scrolls by itself.
PROBE = """
<script>
addEventListener("load", () => {
  const wide = [...document.body.querySelectorAll("*")].filter(
    (one) => one.getBoundingClientRect().right > innerWidth + 0.5 && !one.closest(".scroll, pre, svg, .unseen"));
  const boxes = [...document.querySelectorAll(".scroll, pre")].filter(
    (one) => one.getBoundingClientRect().right > innerWidth + 0.5);
  const names = [...wide, ...boxes].map((one) => one.tagName + "." + one.className);
  parent.document.title = [innerWidth, document.documentElement.scrollWidth, names.join(" ")].join("|");
});
</script>
"""

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the path")]


@pytest.fixture(params=["whole", "half", "bare", "many classes", "audits"])
def page(
    request: pytest.FixtureRequest, contents: Contents, make_contents: Callable[..., Contents], audits: "Audits"
) -> str:
    shipped, dense = contents.models
    if request.param == "audits":
        pictures = {index: png(np.eye(8)) for index in exposed_indices(audits.evidence)}
        return audit_html(audits.evidence, audits.comparisons, pictures).replace("<details>", "<details open>")
    kinds = {
        "whole": lambda: contents,
        "half": lambda: replace(
            contents, models=(replace(shipped, timing={}), replace(dense, evidence={}, manifest=None))
        ),
        "bare": lambda: replace(
            contents, models=(replace(shipped, summary=None, manifest=None, evidence={}, timing={}),)
        ),
        "many classes": lambda: make_contents(
            classes=tuple(f"a class with the long name number {index}" for index in range(60)),
            files=("model.onnx",),
            samples=6000,
        ),
    }
    return render_html(kinds[request.param]())


def chromium(folder: Path, *arguments: str) -> str:
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def at_width(page: str, width: int, height: int) -> str:
    """The page in a frame of `width`: a headless window itself is never narrower than 500 pixels."""
    frame = f'<iframe style="border:0;width:{width}px;height:{height}px" srcdoc="{markup.escape(page)}"></iframe>'
    return f'<!DOCTYPE html><title>not run</title><body style="margin:0">{frame}</body>'


@pytest.mark.parametrize("width", [PHONE, 768, 1280])
def test_nothing_is_wider_than_the_viewport(tmp_path: Path, page: str, width: int) -> None:
    file = tmp_path / "framed.html"
    file.write_text(at_width(page.replace("</body>", PROBE + "</body>"), width, 2000), encoding="utf-8")

    dumped = chromium(tmp_path, "--window-size=1400,2000", "--dump-dom", file.as_uri())

    found = re.search(r"<title>(\d+)\|(\d+)\|(.*?)</title>", dumped)
    assert found, "the probe did not run"
    assert int(found[1]) == width
    assert int(found[2]) <= width
    assert found[3] == ""


@pytest.mark.parametrize("width", [PHONE, 1280])
def test_the_page_is_drawn(tmp_path: Path, contents: Contents, width: int) -> None:
    from matplotlib.image import imread

    file, shot = tmp_path / "framed.html", tmp_path / "shot.png"
    file.write_text(at_width(render_html(contents), width, 2000), encoding="utf-8")

    chromium(tmp_path, f"--window-size={max(width, 500)},2000", f"--screenshot={shot}", file.as_uri())

    grey = np.asarray(imread(shot))[:, :width, :3].mean(axis=2)
    assert grey.shape[0] >= 1800
    # text and lines in every fifth of the page
    assert all((part < 0.5).mean() > 0.002 for part in np.array_split(grey, 5))


def test_the_page_prints(tmp_path: Path, page: str) -> None:
    file, paper = tmp_path / "report.html", tmp_path / "report.pdf"
    file.write_text(page, encoding="utf-8")

    chromium(tmp_path, f"--print-to-pdf={paper}", file.as_uri())

    assert paper.read_bytes().startswith(b"%PDF-")
    assert paper.stat().st_size > 10_000
