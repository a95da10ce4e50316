"""The examples of README and docs/CLIENTS.md, run as they stand against a server started as they say."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.servers import gateway

ROOT = Path(__file__).parents[2]
README, CLIENTS = ((ROOT / page).read_text("utf-8") for page in ("README.md", "docs/CLIENTS.md"))
ADDRESS = "http://127.0.0.1:8000"
PYTHON = re.findall(r"```python\n(.*?)```", README + CLIENTS, re.DOTALL)
CURL = re.findall(r"```sh\n(curl .*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server whose pictures take four steps: what matters here is that the examples run."""
    with gateway(1, SDXL_GATEWAY__CHECKPOINTS__DEMO__STEPS="4") as address:
        yield address


@pytest.mark.parametrize("example", PYTHON, ids=range(len(PYTHON)))
def test_python_example(example: str, url: str, tmp_path: Path) -> None:
    """Who reads a star.png finds one; what an example leaves is a picture."""
    Image.new("RGB", (256, 256), "yellow").save(tmp_path / "star.png")

    ran = subprocess.run(
        [sys.executable, "-c", example.replace(ADDRESS, url)], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )

    assert ran.returncode == 0, ran.stderr
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as picture:
            assert picture.size == (256, 256)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("example", CURL, ids=range(len(CURL)))
def test_curl_example(example: str, url: str) -> None:
    command = example.replace(ADDRESS, url).replace("curl ", "curl --fail --silent ", 1)
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=300)

    assert ran.returncode == 0, ran.stderr
    assert '"url": "' in ran.stdout
