"""The version is written in three places, and they agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from sdxl_gateway import __version__

ROOT = Path(__file__).parents[2]
HEADING = re.compile(r"^## \[(.+)\] - (?:Unreleased|\d{4}-\d\d-\d\d)$", re.MULTILINE)


def test_package_project_and_newest_change_have_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    changes = HEADING.findall((ROOT / "CHANGELOG.md").read_text("utf-8"))

    assert project["version"] == __version__ == changes[0]


def test_every_heading_of_the_changelog_is_read() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")

    assert len(HEADING.findall(text)) == len(re.findall(r"^## ", text, re.MULTILINE))
