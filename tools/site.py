"""Lays the repository's Markdown out beside what it links to, builds a site of it and follows every link there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tools.links import links, pages

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "build" / "docs"
SITE = ROOT / "build" / "site"


class Page(HTMLParser):
    """What an HTML file links to, what it has a browser load, and the ids that others may link to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        self.ids |= {said[name] for name in ("id", "name") if name in said}
        if tag in ("script", "img", "source"):
            self.loaded += [said["src"]] if "src" in said else []
        elif tag == "link" and said.get("rel") in ("stylesheet", "preload", "icon"):
            self.loaded.append(said["href"])
        elif tag == "a" and "href" in said:
            self.links.append(said["href"])


def lay_out(root: Path, source: Path) -> None:
    """Every page where it lies in the repository, so that its links hold, and the files that they lead to."""
    shutil.rmtree(source, ignore_errors=True)
    for page in pages(root):
        _copy(root / page, source / page)
        for target in links((root / page).read_text("utf-8")):
            linked = (root / page.parent / target.partition("#")[0]).resolve()
            _copy(linked, source / linked.relative_to(root))


def _copy(file: Path, to: Path) -> None:
    """A folder becomes a page that lists what lies in it."""
    if file.is_dir():
        inside = sorted(one for one in file.iterdir() if one.is_file())
        for one in inside:
            _copy(one, to / one.name)
        to.mkdir(parents=True, exist_ok=True)
        (to / "index.md").write_text(f"# {to.name}\n\n" + "".join(f"- [{one.name}]({one.name})\n" for one in inside))
    elif not to.exists():
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, to)


def trouble(site: Path) -> Iterator[str]:
    """Links and anchors that lead nowhere, and what a page would load from another host."""
    read = {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in read.items():
        name = path.relative_to(site)
        yield from (f"{name} loads {url}" for url in page.loaded if urlsplit(url).netloc)
        yield from (f"{name} links to {url}" for url in _dead(site, read, path, [*page.links, *page.loaded]))


def _dead(site: Path, read: dict[Path, Page], path: Path, urls: Iterable[str]) -> Iterator[str]:
    for url in urls:
        scheme, host, to, _, anchor = urlsplit(url)
        if scheme or host:
            continue
        there = (site / to.lstrip("/") if to.startswith("/") else path.parent / unquote(to)).resolve() if to else path
        there = there / "index.html" if there.is_dir() else there
        if not there.exists() or (anchor and there in read and unquote(anchor) not in read[there].ids):
            yield url


def main() -> None:
    lay_out(ROOT, SOURCE)
    subprocess.run([sys.executable, "-m", "zensical", "build", "--clean", "--strict"], cwd=ROOT, check=True)
    found = list(trouble(SITE))
    if found:
        sys.exit("\n".join(found))
    print(f"{len(list(SITE.rglob('*.html')))} pages in {SITE}; no dead link, nothing loaded from elsewhere")


if __name__ == "__main__":
    main()
