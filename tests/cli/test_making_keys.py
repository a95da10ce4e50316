"""A key made at a terminal is checked as one made over HTTP, and what it is called is shown as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sdxl_gateway.cli import app

runner = CliRunner()


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--tenant", " "], "'tenant' is empty"),
        (["--tenant", "a\nb"], "'tenant' wants one line"),
        (["--tenant", "a" * 65], "'tenant'"),
        (["--tenant", "art", "--name", "\x1b[31mred"], "'name' wants one line"),
        (["--tenant", "art", "--model", " "], "'models[0]' is empty"),
        (["--tenant", "art", "--webhook-url", "nowhere"], "'webhook_url'"),
    ],
)
def test_what_could_not_be_asked_for_over_http_is_refused(words: list[str], reason: str) -> None:
    made = runner.invoke(app, ["keys", "create", *words])
    assert (made.exit_code, made.stdout) == (1, "")
    assert reason in made.stderr
    assert "live" not in runner.invoke(app, ["keys", "list"]).stdout


def test_brackets_and_colons_in_names_are_shown() -> None:
    name = "[/b] [red]posters :heart:"
    assert runner.invoke(app, ["keys", "create", "--tenant", "art", "--name", name]).exit_code == 0
    listed = runner.invoke(app, ["keys", "list"])
    assert (listed.exit_code, name in listed.stdout) == (0, True)
