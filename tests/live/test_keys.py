"""Keys made on the command line beside a running server, from the first one to its end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kit.loopback import loopback
from tests.kit.servers import server, until


def keys(data: Path, *words: str) -> str:
    command = [sys.executable, "-m", "sdxl_gateway", "keys", *words]
    environment = {**os.environ, "SDXL_GATEWAY__DATA_DIRECTORY": str(data)}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def models(url: str, key: str | None = None) -> int:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return loopback.get(f"{url}/v1/models", headers=headers).status_code


def test_a_key_from_its_making_to_its_end(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        assert models(running.url) == 200
        key = keys(tmp_path / "data", "create", "--tenant", "art", "--name", "posters")
        until(lambda: models(running.url) == 401, seconds=5)
        assert models(running.url, key) == 200
        listed = keys(tmp_path / "data", "list")
        assert "art" in listed
        assert key not in listed
        key_id = next(word for word in listed.split() if word.startswith("key_"))
        new = keys(tmp_path / "data", "rotate", key_id)
        until(lambda: models(running.url, new) == 200, seconds=5)
        assert models(running.url, key) == 200
        start = time.monotonic()
        keys(tmp_path / "data", "revoke", key_id)
        until(lambda: models(running.url, key) == 401, seconds=5)
        assert time.monotonic() - start < 10
        assert models(running.url, new) == 200
        assert key not in running.log
        assert new not in running.log


def test_a_public_server_without_a_key_does_not_start(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sdxl_gateway", "serve", "--host", "0.0.0.0", "--port", "0"]
    environment = {**os.environ, "SDXL_GATEWAY__DATA_DIRECTORY": str(tmp_path)}
    ended = subprocess.run(
        command, env=environment, check=False, capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert ended.returncode == 2
    assert "auth.allow_anonymous" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("words", [("revoke", "key_none"), ("rotate", "key_none")])
def test_an_unknown_key_is_told_plainly(tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        keys(tmp_path, *words)
    assert failed.value.stderr.strip() == "There is no key 'key_none'."
