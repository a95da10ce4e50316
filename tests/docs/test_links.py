"""Every link, anchor and path of code in the repository's Markdown leads somewhere, and so does the site made of it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.links import anchors, dead, links, pages
from tools.site import lay_out, trouble

ROOT = Path(__file__).parents[2]
PAGES = pages(ROOT)
STARTS = (ROOT, ROOT / "src" / "sdxl_gateway", ROOT / "docs")
PATH = re.compile(r"(?<![\w./-])((?:[\w.-]+/)+[\w.-]+\.(?:py|md|toml|json|js|css|yaml|yml))\b")
"""As pages name files of the repository; what a server writes lies in data/."""


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    assert list(dead(ROOT / page, (ROOT / page).read_text("utf-8"))) == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_files_that_are_named_are_there(page: Path) -> None:
    named = {name for name in PATH.findall((ROOT / page).read_text("utf-8")) if "NAME" not in name}
    starts = (*STARTS, (ROOT / page).parent)
    absent = {name for name in named if not any((start / name).exists() for start in starts)}
    assert {name for name in absent if not name.startswith("data/")} == set()


def test_the_site_has_a_place_for_every_page() -> None:
    nav = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]["nav"]
    assert sorted(_named(nav)) == [str(page) for page in PAGES]


def _named(nav: Any) -> Iterator[str]:
    for entry in nav:
        for inside in entry.values():
            yield from [inside] if isinstance(inside, str) else _named(inside)


def test_links_and_anchors_are_those_of_markdown() -> None:
    text = "# A *b* `c`!\n\n# a b c\n\n[x](y.md#z) ![p](q.png) [far](https://x) `[no](no.md)`\n\n| [t](u.md) |\n|---|\n"
    assert links(text) == ["y.md#z", "q.png", "u.md"]
    assert anchors(text) == {"a-b-c", "a-b-c-1"}


def test_a_dead_link_and_a_dead_anchor_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# There\n")
    text = "# Here\n[a](other.md#there) [b](other.md#gone) [c](gone.md) [d](#here) [e](#gone)"
    page = tmp_path / "page.md"
    page.write_text(text)
    assert list(dead(page, text)) == ["other.md#gone", "gone.md", "#gone"]


def test_what_pages_link_to_is_laid_out_beside_them(tmp_path: Path) -> None:
    root, source = tmp_path / "root", tmp_path / "source"
    (root / "docs").mkdir(parents=True)
    (root / "results").mkdir()
    (root / "results" / "one.json").write_text("{}")
    (root / "docs" / "A.md").write_text("[all](../results/) [home](../README.md) [one](../config.toml)")
    (root / "README.md").write_text("# Home\n")
    (root / "config.toml").write_text("")
    lay_out(root, source)
    laid = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    assert laid == {"README.md", "config.toml", "docs/A.md", "results/index.md", "results/one.json"}
    assert "[one.json](one.json)" in (source / "results" / "index.md").read_text()


def test_trouble_in_a_site_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "index.html").write_text(
        '<h1 id="top"></h1><a href="a/#in">x</a><a href="#top">x</a><a href="https://x">x</a>'
    )
    (tmp_path / "a" / "index.html").write_text(
        '<b id="in"></b><a href="../#no">x</a><img src="p.png"><script src="https://far/x.js"></script>'
    )
    assert list(trouble(tmp_path)) == [
        "a/index.html loads https://far/x.js",
        "a/index.html links to ../#no",
        "a/index.html links to p.png",
    ]
