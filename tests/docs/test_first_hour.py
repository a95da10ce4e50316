"""The operators' first hour, run as it stands, one command after the other, against a server that has no key yet."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.servers import gateway

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "TEAMS.md").read_text("utf-8")
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose pictures take four steps, with the data directory that is told to the commands too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDXL_GATEWAY__DATA_DIRECTORY", str(tmp_path_factory.mktemp("data")))
        data = os.environ["SDXL_GATEWAY__DATA_DIRECTORY"]
        with gateway(1, SDXL_GATEWAY__CHECKPOINTS__DEMO__STEPS="4", SDXL_GATEWAY__DATA_DIRECTORY=data) as address:
            yield address


def _commands() -> str:
    """All of the section's, as one script that ends at the first that fails."""
    section = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1]
    assert section.startswith("First hour")
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return "set -e -o pipefail\n" + "\necho '----'\n".join(blocks)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_it_runs(url: str, tmp_path: Path) -> None:
    script = _commands().replace(ADDRESS, url).replace("curl -s ", "curl --fail -s ")
    tools = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    ran = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300, env={**os.environ, **tools}
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    key, picture, told, *_ = ran.stdout.split("----\n")
    assert re.search(r"^key_\w+ .*ops.*first key.*admin", key.strip().splitlines()[-1].strip())
    assert '"url": "' in picture or '"url":"' in picture
    assert '"tenant":"art"' in told.replace(" ", "")
    assert '"event": "key.created"' in told
    assert "lines are whole." in told.splitlines()[-1]
