"""The pages name rooms, commands and tests that there are."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from sdxl_gateway.cli import app
from sdxl_gateway.core import ports
from tools.links import anchors, links, pages

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "sdxl_gateway"
ARCHITECTURE = (ROOT / "docs" / "ARCHITECTURE.md").read_text("utf-8")
COMMANDS = (ROOT / "docs" / "CLI.md").read_text("utf-8")
PAGES = pages(ROOT)


def _rooms() -> set[str]:
    """Every module and package right inside the product."""
    files = {path.stem for path in PACKAGE.glob("*.py")}
    return (files | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}) - {"__init__", "__main__"}


def test_the_map_shows_every_room() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", ARCHITECTURE, re.MULTILINE)) == _rooms()


def test_the_arrows_are_the_law_that_is_checked() -> None:
    law = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"][0]["layers"]
    arrows = re.search(r"```\n(cli -> app.*?)```", ARCHITECTURE, re.DOTALL)

    assert arrows is not None
    assert re.findall(r"\w+", arrows[1]) == [name for line in law for name in re.findall(r"\w+", line)][1:]


@pytest.mark.parametrize("room", ["api", "catalog", "engine"])
def test_the_arrows_inside_a_room_are_the_law_too(room: str) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (law,) = (contract["layers"] for contract in contracts if contract["name"] == f"Inside {room}")
    arrows = re.search(rf"^{room}: +(.*)$", ARCHITECTURE, re.MULTILINE)

    assert arrows is not None
    assert arrows[1] == " -> ".join(law)


def test_the_ports_have_the_methods_that_are_named() -> None:
    written = re.findall(r"\*\*(\w+)\*\*\s\(([`\w,\s]+)\)", ARCHITECTURE.partition("## Ports")[2])

    assert {"Engine", "Backend", "Meters"} <= {name for name, _ in written}
    for name, methods in written:
        assert set(re.findall(r"\w+", methods)) <= set(dir(getattr(ports, name))), name


def test_every_decision_stands_in_the_index_once() -> None:
    index = links((ROOT / "docs" / "DECISIONS.md").read_text("utf-8"))
    files = [target for target in index if "#" not in target]
    told = {f"{file}#{anchor}" for file in files for anchor in anchors((ROOT / "docs" / file).read_text("utf-8"))}
    titles = {f"{file}#{_title(ROOT / 'docs' / file)}" for file in files}

    assert {Path("docs", file) for file in files} == {page for page in PAGES if page.parent.name == "decisions"}
    assert sorted(target for target in index if "#" in target) == sorted(told - titles)


def _title(page: Path) -> str:
    """The anchor of a page's own heading."""
    return next(iter(anchors(page.read_text("utf-8").partition("\n")[0])))


def test_make_targets_that_are_named_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    named = [
        name
        for page in PAGES
        for name in re.findall(r"(?:`|^)make ([a-z-]+)", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    ]

    assert {"serve", "test"} <= set(named)
    for target in set(named):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_commands_of_the_page_are_the_commands_there_are() -> None:
    # typer promises a command, and gives a group.
    commands = get_command(app).commands  # type: ignore[attr-defined]
    groups = ("loras", "checkpoints")
    inner = {f"{group} {name}" for group in groups for name in commands[group].commands}
    written = set(re.findall(rf"^\| `sdxl-gateway ((?:(?:{'|'.join(groups)}) )?\w+)", COMMANDS, re.MULTILINE))

    assert written == (set(commands) - set(groups)) | inner


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_python_in_a_page_is_python(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL):
        compile(block, page.name, "exec")


def test_every_parity_has_its_test() -> None:
    rows = re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", (ROOT / "docs" / "PARITY.md").read_text("utf-8"))

    assert len(rows) > 40
    for file, test in rows:
        assert f"def {test or 'test_'}" in (ROOT / file).read_text("utf-8"), f"{file}::{test}"
