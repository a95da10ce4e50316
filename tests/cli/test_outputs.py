"""Where a command cannot write what it was asked for it says so, and before the work rather than after it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sdxl_gateway.cli import app, generating
from sdxl_gateway.cli.generating import Made
from tests.kit.admission import lora_file
from tests.kit.lora_files import write

runner = CliRunner()


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def painted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was painted so far."""
    pictures: list[str] = []

    def paint(*_: object) -> Made:
        pictures.append("one")
        return Made(b"picture")

    monkeypatch.setattr(generating, "_made", paint)
    return pictures


@pytest.mark.parametrize("output", ["nowhere/cat.png", "folder.png"])
def test_nothing_is_painted_that_could_not_be_written(monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    pictures = painted(monkeypatch)
    Path("folder.png").mkdir()

    told = runner.invoke(app, ["generate", "a cat", "-o", output])

    assert told.exit_code == 2
    assert told.stderr.startswith(f"{output} cannot be written: ")
    assert pictures == []


def test_a_disk_that_takes_no_picture_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    painted(monkeypatch)
    Path("cat.png").symlink_to("/dev/full")

    told = runner.invoke(app, ["generate", "a cat", "-o", "cat.png"])

    assert (told.exit_code, told.stderr) == (1, "cat.png cannot be written: No space left on device.\n")


@pytest.mark.parametrize(
    ("output", "reason"),
    [("nowhere/b.safetensors", "cannot be written: nowhere is no folder"), ("b.png", "must end in .safetensors")],
)
def test_convert_says_why_it_does_not_write(output: str, reason: str) -> None:
    write(Path("ink.safetensors"), lora_file("ink"))

    told = runner.invoke(app, ["loras", "convert", "ink.safetensors", "-o", output])

    assert told.exit_code == 2
    assert reason in told.stderr
    assert not Path(output).exists()
