"""A page read as a browser would, as far as claims about it need."""

import re
from html.parser import HTMLParser

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


def is_whole(html: str) -> Page:
    """The page, after checking that its tags close, its ids are its own, and what refers to an id finds it."""
    page = Page(html)
    assert html.lstrip().startswith("<!DOCTYPE html>")
    assert len(page.ids) == len(set(page.ids))
    for _, name, value in page.attributes:
        if name in ("aria-labelledby", "href"):
            assert all(one.removeprefix("#") in page.ids for one in value.split())
    return page


def asks_for_nothing(html: str) -> None:
    """No script, no request: links stay on the page, and a picture is in the page itself."""
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    for tag, name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert value.startswith("data:image/png;base64," if (tag, name) == ("img", "src") else "#")
    assert "://" not in html
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
