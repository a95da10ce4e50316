"""The operators' first hour, run as it stands, one command after the other, against a server that has no key yet."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from benchmarks.servers import free_port, gateway

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "TEAMS.md").read_text("utf-8")
SECTION = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1]
ADDRESS = "http://127.0.0.1:8000"
RECEIVER_PORT = "9000"


@pytest.fixture(scope="module")
def port() -> str:
    """Where the page's receiver listens in this run."""
    return str(free_port())


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, port: str) -> Iterator[str]:
    """A server by the page's settings whose pictures take two steps; its data directory is told to the commands too."""
    (settings,) = _blocks("toml")
    (receiver,) = tomllib.loads(settings.replace(RECEIVER_PORT, port))["egress"]["private_hosts"]
    environment = {
        "SDXL_GATEWAY__DATA_DIRECTORY": str(tmp_path_factory.mktemp("data")),
        "SDXL_GATEWAY__EGRESS__PRIVATE_HOSTS": receiver,
        "SDXL_GATEWAY__CHECKPOINTS__DEMO__STEPS": "2",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDXL_GATEWAY__DATA_DIRECTORY", environment["SDXL_GATEWAY__DATA_DIRECTORY"])
        with gateway(1, **environment) as address:
            yield address


def _blocks(language: str) -> list[str]:
    assert SECTION.startswith("First hour")
    return re.findall(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)


def _commands() -> str:
    """All of the section's, as one script that ends at the first that fails."""
    return "set -e -o pipefail\n" + "\necho '----'\n".join(_blocks("sh"))


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_it_runs(url: str, port: str, tmp_path: Path) -> None:
    script = _commands().replace(ADDRESS, url).replace("curl -s ", "curl --fail -s ").replace(RECEIVER_PORT, port)
    tools = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    ran = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300, env={**os.environ, **tools}
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    key, picture, batch, webhook, told = ran.stdout.split("----\n")
    assert re.search(r"^key_\w+ .*ops.*first key.*admin", key.strip().splitlines()[-1].strip())
    assert json.loads(picture)["data"][0]["url"].startswith(url)
    assert '"request_counts":{"total":2,"completed":2,"failed":0}' in batch
    assert ZipFile(tmp_path / "pictures.zip").namelist() == ["00001-circle.png", "00002-star.png"]
    assert "'type': 'image.job.completed'" in webhook
    assert '"tenant":"art"' in told
    assert '"event": "key.created"' in told
    assert "lines are whole." in told.splitlines()[-1]
