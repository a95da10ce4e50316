"""openai-python's own tests of its image calls, with a real picture where they send "Example data", pass here."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from tests.kit.servers import TROUBLE, Server
from tests.kit.topologies import served

VERSION = version("openai")
SUITE = "tests/api_resources/test_images.py"
EXAMPLE = 'b"Example data"'
CASES = 100
FETCH_SECONDS = 600
QUICK = '[checkpoints.demo]\npath = "demo"\nsteps = 2\nguidance_scale = 1.0\n\n[matting]\npath = "demo"\n'


@pytest.fixture(scope="module")
def suite(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source of the release that is installed: its wheel holds no tests."""
    assert pytestconfig.cache is not None
    kept = pytestconfig.cache.mkdir(f"openai-sdist-{VERSION}") / f"openai-{VERSION}.tar.gz"
    if not kept.exists():
        _fetch(kept.parent)
    folder = tmp_path_factory.mktemp("openai")
    with tarfile.open(kept) as packed:
        packed.extractall(folder, filter="data")
    root = folder / f"openai-{VERSION}"
    tests = root / SUITE
    text = tests.read_text("utf-8")
    assert EXAMPLE in text
    tests.write_text(text.replace(EXAMPLE, repr(_example())), "utf-8")
    return root


def _fetch(folder: Path) -> None:
    wanted = ["--no-deps", "--no-binary", ":all:", "--dest", str(folder), f"openai=={VERSION}"]
    command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", *wanted]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip("pip took too long to fetch openai's source")
    if done.returncode:
        pytest.skip(f"pip cannot fetch openai's source: {done.stderr.strip()[-200:]}")


def _example() -> bytes:
    """A picture that is its own mask: transparent in the middle."""
    image = Image.new("RGBA", (256, 256), (40, 90, 215, 255))
    image.paste((0, 0, 0, 0), (64, 64, 192, 192))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def matting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("openai-suite")
    (folder / "config.toml").write_text(QUICK, "utf-8")
    with served(folder) as one:
        yield one
    assert TROUBLE.findall(one.log) == []


def test_every_case_passes(suite: Path, matting: Server, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    options = ["-o", "addopts=", "-q", "-n", "2", "-p", "no:cacheprovider", "-p", "no:randomly", f"--junitxml={report}"]
    environment = {**os.environ, "TEST_API_BASE_URL": f"{matting.url}/v1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", SUITE, *options], cwd=suite, env=environment, capture_output=True, text=True
    )
    assert report.exists(), done.stdout + done.stderr
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = [f"{case.get('name')}: {reason.get('message')}" for case in cases for reason in case.findall("*")]
    assert (len(cases), failed) == (CASES, [])
