"""Takes Markdown, gives the links in it and the anchors that others may link to, as GitHub makes them of headings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

FOLDERS = ("docs", "loras", "tools", "deploy", "benchmarks")
_MARKDOWN = MarkdownIt("commonmark").enable("table")
_ELSEWHERE = re.compile(r"[a-z][a-z+.-]*:")


def pages(root: Path) -> list[Path]:
    """The repository's Markdown, as paths from its root."""
    found = [*root.glob("*.md"), *(page for folder in FOLDERS for page in (root / folder).rglob("*.md"))]
    return sorted(page.relative_to(root) for page in found)


def links(text: str) -> list[str]:
    """Where links and pictures lead, in order; not those to other hosts."""
    found = (token.attrGet("href") or token.attrGet("src") for token in _inner(_MARKDOWN.parse(text)))
    return [str(target) for target in found if target and not _ELSEWHERE.match(str(target))]


@cache
def anchors(text: str) -> frozenset[str]:
    """One for each heading; of those that are alike the second ends in -1, the third in -2."""
    tokens = _MARKDOWN.parse(text)
    headings = [after for token, after in pairwise(tokens) if token.type == "heading_open"]
    slugs = [_slug(_said(heading)) for heading in headings]
    return frozenset(
        slug + (f"-{before}" if (before := slugs[:place].count(slug)) else "") for place, slug in enumerate(slugs)
    )


def dead(page: Path, text: str) -> Iterator[str]:
    """The links of a page that lead to no file, or to no heading of one."""
    for target in links(text):
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        if not there.exists() or (anchor and anchor not in anchors(there.read_text("utf-8"))):
            yield target


def _inner(tokens: Iterable[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _inner(token.children or ())


def _said(heading: Token) -> str:
    return "".join(token.content for token in heading.children or ())


def _slug(text: str) -> str:
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
