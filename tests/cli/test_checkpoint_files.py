"""`checkpoints list` and `checkpoints inspect`: what is told of folders and of single files, good and bad."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sdxl_gateway.catalog.single_file.layout import sdxl_tensors
from sdxl_gateway.cli import app, asking
from sdxl_gateway.config import Settings
from tests.kit import single_file_headers as made
from tests.kit.lora_files import write
from tests.kit.single_file_headers import Shape, write_holes

runner = CliRunner()
BARE = {name: shape for name, shape in sdxl_tensors().items() if not name.startswith("first_stage_model.")}
ZERO_SNR: dict[str, Shape] = {"v_pred": (0,), "ztsnr": (0,)}


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def inspect(path: Path) -> Result:
    return runner.invoke(app, ["checkpoints", "inspect", str(path)])


def test_a_file_that_can_be_served() -> None:
    shapes = dict(sdxl_tensors()) | ZERO_SNR
    path = write_holes(Path("noob.safetensors"), shapes, dtype="BF16", metadata={"modelspec.title": "Noob"})
    told = inspect(path)
    assert told.exit_code == 0
    lines = told.output.splitlines()
    assert lines[0] == "noob.safetensors"
    assert lines[1:-2] == [
        "this is      an SDXL checkpoint",
        "title        Noob",
        f"stored as    BF16, {path.stat().st_size} bytes, 3468837867 parameters",
        "vae          in the file",
        "prediction   v_prediction, zero terminal SNR",
        "inpainting   no",
    ]
    assert lines[-1] == "ok"


def test_a_file_without_a_vae() -> None:
    told = inspect(write_holes(Path("bare.safetensors"), BARE))
    assert (told.exit_code, told.output.splitlines()[-1]) == (0, "ok with a VAE of its own: set `vae` in its section")
    assert "prediction   not told: as its configs say" in told.output


@pytest.mark.parametrize(
    ("shapes", "sentence"),
    [
        (made.FLUX, "this is a Flux model."),
        (made.LORA, "this is a LoRA."),
        (dict(sdxl_tensors()) | {"model.diffusion_model.new.weight": (1,)}, "which SDXL lacks"),
    ],
)
def test_a_file_that_is_refused(shapes: dict[str, Shape], sentence: str) -> None:
    told = inspect(write_holes(Path("other.safetensors"), shapes))
    assert told.exit_code == 1
    assert sentence in told.output
    assert "stored as    F16" in told.output


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("old.ckpt", "is a pickle, which runs code"), ("a.safetensors", "too short"), ("gone.safetensors", "opened")],
)
def test_a_file_that_is_not_read(name: str, sentence: str) -> None:
    if not name.startswith("gone"):
        write(Path(name), b"\x80")
    told = inspect(Path(name))
    assert told.exit_code == 1
    assert sentence in told.output


def test_the_list_has_what_is_configured_and_why_not() -> None:
    write_holes(Path("sdxl.safetensors"), sdxl_tensors())
    write_holes(Path("flux.safetensors"), made.FLUX)
    Path("s.toml").write_text(
        '[checkpoints.demo]\npath = "demo"\n[checkpoints.pony]\npath = "sdxl.safetensors"\n'
        '[checkpoints.flux]\npath = "flux.safetensors"\n',
        "utf-8",
    )
    told = runner.invoke(app, ["checkpoints", "list", "--config", "s.toml"])
    assert told.exit_code == 0
    rows = {row.split("│")[1].strip(): row for row in told.output.splitlines() if row.count("│") == 7}
    assert "folder" in rows["demo"]
    assert all(word in rows["pony"] for word in ("file", "F16", "yes", "sdxl.safetensors"))
    assert "flux: 'flux.safetensors' is not an SDXL checkpoint: this is a Flux model." in told.output


def test_a_model_may_be_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "Pony V6+.safetensors", b"")
    by_path = asking.with_model(Settings(), str(path))
    assert (by_path.default_model, by_path.checkpoints["Pony-V6-"].path) == ("Pony-V6-", str(path))
    by_id = asking.with_model(Settings(), "org/name:sub/one.safetensors")
    assert (by_id.default_model, by_id.checkpoints["one"].path) == ("one", "org/name:sub/one.safetensors")
