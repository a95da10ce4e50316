"""`pull org/name:file.safetensors` from a Hub on this machine: whole, resumed, tampered with, and not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.fake_hub import FakeHub, fake_hub

CONTENT = bytes(range(256)) * 48 * 2**10
"""More than the 10 MiB that the Hub's library writes at once."""
ASKED = "org/name:models/real one.safetensors"


def pull(hub: FakeHub, home: Path, asked: str = ASKED, **more: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: the Hub's library reads its settings once."""
    kept = {key: value for key, value in os.environ.items() if not key.upper().endswith("_PROXY")}
    settings = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
    settings["TQDM_POSITION"] = "-1"  # shows the progress bar though nobody looks on
    return subprocess.run(
        [sys.executable, "-m", "sdxl_gateway", "pull", asked],
        env={**kept, **settings, **more},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def fetched(home: Path) -> list[Path]:
    return [path for path in home.rglob("*.safetensors") if path.is_file()]


def test_one_file_is_fetched_checked_and_found_again(tmp_path: Path) -> None:
    with fake_hub(CONTENT) as hub:
        told = pull(hub, tmp_path)
        again = pull(hub, tmp_path)
    assert told.returncode == again.returncode == 0, told.stderr
    assert "as the Hub says" in told.stdout
    assert "100%" in told.stderr
    assert [path.read_bytes() for path in fetched(tmp_path)] == [CONTENT]
    assert hub.ranges == [None]
    assert str(fetched(tmp_path)[0]) in again.stdout
    offline = pull(hub, tmp_path, HF_HUB_OFFLINE="1")
    assert (offline.returncode, str(fetched(tmp_path)[0]) in offline.stdout) == (0, True)


def test_what_has_come_is_not_fetched_again(tmp_path: Path) -> None:
    blobs = tmp_path / "hub" / "models--org--name" / "blobs"
    with fake_hub(CONTENT) as hub:
        whole = pull(hub, tmp_path / "other")
        name = next((tmp_path / "other").rglob("blobs/*")).name
        blobs.mkdir(parents=True)
        (blobs / f"{name}.partial").write_bytes(CONTENT[:700_000])
        told = pull(hub, tmp_path)
    assert (whole.returncode, told.returncode) == (0, 0), told.stderr
    assert "0.7 MiB have come before" in told.stdout
    assert hub.ranges[1:] == ["bytes=700000-"]
    assert fetched(tmp_path / "hub")[0].read_bytes() == CONTENT


def test_a_connection_that_breaks_leaves_what_has_come(tmp_path: Path) -> None:
    with fake_hub(CONTENT) as hub:
        hub.breaks = 11 * 2**20
        broken = pull(hub, tmp_path)
        partial = next(tmp_path.rglob("*.partial")).stat().st_size
        hub.breaks = None
        told = pull(hub, tmp_path)
    assert broken.returncode == 1
    assert "Try again; what has come is kept." in broken.stderr
    assert "Traceback" not in broken.stderr
    assert partial == 10 * 2**20
    assert told.returncode == 0, told.stderr
    assert hub.ranges[-1] == f"bytes={partial}-"


def test_a_token_stays_with_the_hub(tmp_path: Path) -> None:
    with fake_hub(CONTENT) as other, fake_hub(CONTENT) as hub:
        hub.redirect = other.url.replace("127.0.0.1", "localhost")
        told = pull(hub, tmp_path, HF_TOKEN="hf_secret")
    assert told.returncode == 0, told.stderr
    assert hub.tokens == ["Bearer hf_secret"]
    assert other.tokens == [None]


def test_a_file_that_is_not_what_the_hub_says(tmp_path: Path) -> None:
    with fake_hub(CONTENT, given=b"\1" + CONTENT[1:]) as hub:
        told = pull(hub, tmp_path)
    assert told.returncode == 1
    assert "What came is not what the Hub has" in told.stderr
    assert fetched(tmp_path) == []
    assert not any(path.name.endswith(".partial") for path in tmp_path.rglob("*"))


@pytest.mark.parametrize(
    ("asked", "more", "sentence"),
    [
        ("org/name:gone.safetensors", {}, "The Hub has no file 'org/name:gone.safetensors'."),
        ("org/name:real.ckpt", {}, "is not a Hub id"),
        (ASKED, {"HF_HUB_OFFLINE": "1"}, "cannot be reached"),
        (ASKED, {"HF_ENDPOINT": "http://127.0.0.1:9"}, "failed: ConnectError"),
    ],
)
def test_what_cannot_be_fetched(tmp_path: Path, asked: str, more: dict[str, str], sentence: str) -> None:
    with fake_hub(CONTENT) as hub:
        told = pull(hub, tmp_path, asked, **more)
    assert told.returncode in (1, 2)
    assert sentence in told.stderr
    assert "Traceback" not in told.stderr
