"""OpenAI's and Vercel's JavaScript clients, installed by npm."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parents[1] / "clients"
UNREACHED = ("EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ENOTFOUND", "ETIMEDOUT")


def node_clients(cache: pytest.Cache) -> Path:
    """A folder with the clients and their scripts, installed again when the lock file has changed; skips the test if
    that is impossible.
    """
    for command in ("node", "npm"):
        if shutil.which(command) is None:
            pytest.skip(f"{command} is not installed")
    locked = hashlib.sha256((CLIENTS / "package-lock.json").read_bytes()).hexdigest()[:12]
    folder = cache.mkdir(f"node-clients-{locked}")
    with (folder / "lock").open("w") as lock:  # processes that test side by side share the folder
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.copytree(CLIENTS, folder, dirs_exist_ok=True)
        if not (folder / "node_modules" / ".package-lock.json").exists():
            _install(folder)
    return folder


def _install(folder: Path) -> None:
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if any(code in done.stderr for code in UNREACHED):
        pytest.skip("npm's registry cannot be reached")
    assert done.returncode == 0, done.stderr
