"""The audit log from a terminal: verified, exported, and written to by what is done there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sdxl_gateway.cli import app

runner = CliRunner()


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: str, code: int = 0) -> str:
    ran = runner.invoke(app, words)
    assert ran.exit_code == code, ran.output
    return ran.output


def _keys() -> list[str]:
    """Two tenants' keys; what was printed of them."""
    return [run("keys", "create", "--tenant", tenant, "--name", "x") for tenant in ("art", "ops")]


def test_what_is_done_to_keys_stands_in_it() -> None:
    shown = [text.split()[0] for text in _keys()]
    first = json.loads(run("audit", "export").splitlines()[0])
    run("keys", "rotate", first["target"])
    run("keys", "revoke", first["target"])
    exported = run("audit", "export", "--tenant", "art")
    lines = [json.loads(line) for line in exported.splitlines()]
    assert [line["event"] for line in lines] == ["key.created", "key.rotated", "key.revoked"]
    assert {(line["target"], line["actor_tenant"]) for line in lines} == {(first["target"], "terminal")}
    assert not [key for key in shown if key in exported]
    assert run("audit", "verify").startswith("4 lines are whole. Line 4 is ")


def test_csv_and_times() -> None:
    _keys()
    assert len(run("audit", "export", "--format", "csv").splitlines()) == 3
    assert run("audit", "export", "--until", "2020-01-01") == ""
    assert len(run("audit", "export", "--since", "2020-01-01T00:00:00+01:00").splitlines()) == 2
    assert "no day or time" in run("audit", "export", "--since", "yesterday", code=2)


def test_a_changed_line_is_named() -> None:
    _keys()
    log = next(Path("data/audit").glob("*.jsonl"))
    noted = json.loads(log.read_text("utf-8").splitlines()[-1])["hash"]
    assert run("audit", "verify", "--hash", noted).startswith("2 lines are whole.")
    assert "written anew" in run("audit", "verify", "--hash", "0" * 63 + "1", code=1)
    log.write_text(log.read_text("utf-8").replace("art", "tra"), "utf-8")
    told = run("audit", "verify", code=1)
    assert told == f"0 lines are whole. {log.name}, line 1: it is not as it was written: its hash is another.\n"


def test_where_there_is_none(tmp_path: Path) -> None:
    assert "There is no audit log in" in run("audit", "verify", code=1)
    (tmp_path / "config.toml").write_text("[audit]\nenabled = false\n", "utf-8")
    _keys()
    assert "There is no audit log in" in run("audit", "export", code=1)


def test_a_key_is_made_where_the_log_cannot_be_written() -> None:
    Path("data").mkdir()
    Path("data/audit").write_bytes(b"")
    assert "This does not stand in the audit log" in run("keys", "create", "--tenant", "art")
