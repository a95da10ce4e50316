"""The pages name rooms, files, commands and links that there are."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from sdxl_gateway.cli import app

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "sdxl_gateway"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CHANGELOG.md"]
ARCHITECTURE = (ROOT / "docs" / "ARCHITECTURE.md").read_text("utf-8")
README, COMMANDS = ((ROOT / page).read_text("utf-8") for page in ("README.md", "docs/CLI.md"))


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", ["docs/ARCHITECTURE.md", "docs/RELIABILITY.md", "CONTRIBUTING.md"])
def test_files_named_in_the_maps_are_there(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    named = {name for name in re.findall(r"\b((?:\w+/)+\w+\.(?:py|md))\b", text) if "NAME" not in name}

    assert named
    for name in named:
        assert (PACKAGE / name).exists() or (ROOT / name).exists(), name


def test_make_targets_named_in_the_readme_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")

    for target in set(re.findall(r"`?make ([a-z-]+)", README)) - {"it"}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_commands_of_the_page_are_the_commands_there_are() -> None:
    # typer promises a command, and gives a group.
    commands = get_command(app).commands  # type: ignore[attr-defined]
    groups = ("loras", "checkpoints")
    inner = {f"{group} {name}" for group in groups for name in commands[group].commands}
    written = set(re.findall(rf"^\| `sdxl-gateway ((?:(?:{'|'.join(groups)}) )?\w+)", COMMANDS, re.MULTILINE))

    assert written == (set(commands) - set(groups)) | inner


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_a_page_is_python(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        compile(block, page.name, "exec")


def test_every_parity_has_its_test() -> None:
    rows = re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", (ROOT / "docs" / "PARITY.md").read_text("utf-8"))

    assert len(rows) > 40
    for file, test in rows:
        assert f"def {test or 'test_'}" in (ROOT / file).read_text("utf-8"), f"{file}::{test}"
