"""`rollout` and `feedback` from a terminal: what is promoted is in force, can be taken back, and stands in the log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sdxl_gateway.cli import app
from sdxl_gateway.core.rollout import Arm
from sdxl_gateway.storage.arm_table import ArmKey, Counted, add
from sdxl_gateway.storage.database import opened

CONFIG = """
data_directory = "data"
[models.fresh]
rollout = [{ target = "old", share = 60 }, { target = "new", share = 30 }, { target = "third", share = 10 }]
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def run(*words: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == status, result.output
    return result.output


def shares() -> dict[str, tuple[str, str]]:
    lines = [line.split() for line in run("rollout", "list").splitlines()[1:]]
    return {line[1]: (line[2], line[3]) for line in lines}


def test_promoted_back_and_listed() -> None:
    assert shares() == {"old": ("60", "60"), "new": ("30", "30"), "third": ("10", "10")}
    told = run("rollout", "promote", "fresh", "new", "--share", "65")
    assert told == "fresh is shared out so from now on: old 30, new 65, third 5.\n"
    run("rollout", "promote", "fresh", "new")
    assert shares() == {"old": ("0", "60"), "new": ("100", "30"), "third": ("0", "10")}
    run("rollout", "back", "fresh")
    assert shares()["new"] == ("65", "30")
    assert "as config.toml says" in run("rollout", "back", "fresh")
    assert "nothing to go back to" in run("rollout", "back", "fresh", status=1)
    history = [line.split()[3] for line in run("rollout", "history", "fresh").splitlines()[1:]]
    assert history == ["promoted", "promoted", "back", "back"]
    log = [json.loads(line) for line in run("audit", "export").splitlines()]
    assert [(line["event"], line["target"]) for line in log] == [
        ("rollout.promoted", "fresh"),
        ("rollout.promoted", "fresh"),
        ("rollout.back", "fresh"),
        ("rollout.back", "fresh"),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("promote", "frehs", "new"), "no rollout 'frehs'"),
        (("promote", "fresh", "newer"), "no arm 'newer'; it has 'old', 'new', 'third'"),
        (("back", "nothing"), "no rollout 'nothing'"),
    ],
)
def test_what_is_not_there_is_named(words: tuple[str, ...], said: str) -> None:
    assert said in run("rollout", *words, status=1)


def test_the_report(home: Path) -> None:
    run("rollout", "promote", "fresh", "new")
    counted = {
        ArmKey("2026-01-01", Arm("fresh", "new"), "finished", 300): Counted(3, 6),
        ArmKey("2026-01-01", Arm("fresh", "new"), "refused"): Counted(1, 0),
    }
    with opened(home / "data") as database:
        database.submit(lambda connection: add(connection, counted, ())).result()
    _, old, new, _ = (line.split() for line in run("feedback", "report").splitlines())
    assert old == ["fresh", "old", "0", "0", "0", "0", "-", "-", "-", "0", "-"]
    assert new[:8] == ["fresh", "new", "100", "4", "6", "0", "25.00", "(4.56..69.94)"]
    table = json.loads(run("feedback", "report", "--json", "--rollout", "fresh", "--days", "30"))
    assert [row["pictures"] for row in table["data"]] == [0, 0, 0]
