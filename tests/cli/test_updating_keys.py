"""A key is changed from a terminal: what is named changes, and it stands in the audit log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sdxl_gateway.cli import app

runner = CliRunner()


def run(*words: str, code: int = 0) -> str:
    ran = runner.invoke(app, words)
    assert ran.exit_code == code, ran.output
    return ran.output


@pytest.fixture
def key_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.chdir(tmp_path)
    run("keys", "create", "--tenant", "art", "--limit", "max_n=2", "--safety", "flag", "--expires-days", "2")
    found: str = json.loads(run("audit", "export"))["target"]
    return found


def listed() -> str:
    return run("keys", "list").splitlines()[1]


def test_what_is_named_changes(key_id: str) -> None:
    run("keys", "update", key_id, "--name", "posters", "--model", "demo*", "--lora", "ink", "--lora", "pen")
    run("keys", "update", key_id, "--limit", "max_steps=9", "--priority", "low")
    for word in ("posters", "demo*", "ink, pen", "low", "max_n=2", "max_steps=9", "flag", "live until"):
        assert word in listed()
    run("keys", "update", key_id, "--clear", "limits", "--clear", "safety", "--clear", "expiry")
    for word in ("max_n", "max_steps", "flag", "until"):
        assert word not in listed()
    lines = [json.loads(line) for line in run("audit", "export").splitlines()]
    assert [line["event"] for line in lines] == ["key.created", *["key.updated"] * 3]


def test_what_cannot_be_is_told(key_id: str) -> None:
    before = listed()
    assert "webhook_url" in run("keys", "update", key_id, "--webhook-url", "nowhere", code=1)
    assert "no key" in run("keys", "update", "key_none", "--name", "x", code=1)
    assert "NAME=NUMBER" in run("keys", "update", key_id, "--limit", "max_n", code=2)
    assert listed() == before
