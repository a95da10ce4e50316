"""`check` tells whatever `serve` would stop at, naming the key, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sdxl_gateway.cli import app

runner = CliRunner()


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def problems(settings: str) -> list[str]:
    Path("config.toml").write_text(settings, "utf-8")
    told = runner.invoke(app, ["check"])
    found = [line.removeprefix("PROBLEM").strip() for line in told.stdout.splitlines() if line.startswith("PROBLEM")]
    assert told.exit_code == bool(found), told.output
    return found


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ('[server]\nhost = "0.0.0.0"\n', "server.host is 0.0.0.0"),
        ('data_directory = "config.toml"\n', "data_directory: "),
        ('[loras]\ndirectory = "config.toml"\n', "loras.directory: config.toml is a file, not a folder."),
        ('[checkpoint_folder]\ndirectory = "config.toml"\n', "checkpoint_folder.directory: "),
        ('[upscalers.x4]\npath = "lost.safetensors"\n', "Upscaler 'x4': "),
        ('[encryption]\nsecrets = ["short"]\n', "encryption.secrets: "),
        ('[checkpoints.demo]\npath = "demo"\nrefiner = "lost"\n', "Checkpoint 'demo': 'lost' is none of the refiners"),
        ('[checkpoints.lost]\npath = "/lost"\n', "checkpoints.lost.path: '/lost' is neither a folder nor a file."),
        (
            '[checkpoints.lost]\npath = "org/lost"\n',
            "checkpoints.lost.path: 'org/lost' is neither a folder nor a file nor",
        ),
        ('[engine]\npreview_vae = "lost"\n', "engine.preview_vae: 'lost' is neither"),
        (
            '[models.style]\ncheckpoint = "dem"\n',
            "models.style.checkpoint: The model 'dem' does not exist. Did you mean",
        ),
        ('[models.style]\nsize = "1000x1001"\n', "models.style.size (config.toml): should be a size"),
    ],
)
def test_what_would_stop_the_start_is_named(settings: str, problem: str) -> None:
    found = problems(settings)
    assert len(found) == 1
    assert found[0].startswith(problem)
    assert [path.name for path in Path().iterdir()] == ["config.toml"]


def test_a_key_of_the_data_directory_is_enough_for_a_public_server() -> None:
    assert runner.invoke(app, ["keys", "create", "--tenant", "art"]).exit_code == 0
    assert problems('[server]\nhost = "0.0.0.0"\n') == []
