"""The secret of a tenant's webhooks from a terminal."""

from __future__ import annotations

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
    return ran.output.strip()


def test_it_stays_until_a_new_one_is_made() -> None:
    first = run("keys", "webhook-secret", "art")
    assert first.startswith("whsec_")
    assert run("keys", "webhook-secret", "art") == first
    assert run("keys", "webhook-secret", "ops") != first
    new = run("keys", "webhook-secret", "art", "--new")
    assert (new != first, run("keys", "webhook-secret", "art")) == (True, new)
    told = run("audit", "export", "--tenant", "art")
    assert ("webhook_secret.rotated" in told, new in told) == (True, False)


def test_a_key_has_a_receiver_that_can_be_one() -> None:
    run("keys", "create", "--tenant", "art", "--webhook-url", "https://example.org/hook")
    assert "user or a password" in run("keys", "create", "--tenant", "art", "--webhook-url", "http://a:b@x/", code=1)
