"""Checkpoint folders: what is read of them, and which are not served."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.catalog.checkpoints import CheckpointEntry, open_checkpoint, open_checkpoints
from sdxl_gateway.catalog.model_files import fingerprint, module_shapes, resolve_folder, weight_files
from sdxl_gateway.config import DEMO_MODEL, Checkpoint
from sdxl_gateway.core.errors import CheckpointProblem
from tests.kit.lora_files import file_bytes, write

WEIGHTS = file_bytes({"mid.q.weight": (4, 8), "mid.q.bias": (4,)})
TEXT = file_bytes({"encoder.layers.0.q.weight": (6, 6), "text_projection.weight": (6, 6)})
NAMED_TEXT = file_bytes({"text_model.encoder.layers.0.q.weight": (2, 2)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    write_json(root / "model_index.json", {"_class_name": "StableDiffusionXLPipeline"})
    write_json(root / "unet" / "config.json", {"sample_size": 128})
    write(root / "unet" / "diffusion_pytorch_model.safetensors", WEIGHTS)
    write(root / "text_encoder" / "model.safetensors", NAMED_TEXT)
    write(root / "text_encoder_2" / "model.safetensors", TEXT)
    return root


def write_json(path: Path, value: Any) -> None:
    write(path, json.dumps(value).encode())


def open_regular_file(folder: Path, native_pixels: int | None = None) -> CheckpointEntry:
    return open_checkpoint("mine", Checkpoint(path=str(folder), native_pixels=native_pixels), DEMO_MODEL)


def problem(folder: Path) -> str:
    with pytest.raises(CheckpointProblem) as raised:
        open_regular_file(folder)
    return str(raised.value)


def test_the_demo_model() -> None:
    demo = open_checkpoints({"demo": Checkpoint(path="demo")}, DEMO_MODEL)["demo"]
    assert (demo.path, demo.native_area) == (DEMO_MODEL, 256 * 256)
    assert demo.native_area < demo.native_pixels < 2 * demo.native_area
    assert demo.shapes["unet.conv_in"] == (32, 4, 3, 3)
    assert any(name.startswith("text_encoder_2.text_model.encoder.") for name in demo.shapes)


def test_a_folder(folder: Path) -> None:
    entry = open_regular_file(folder)
    assert (entry.name, entry.path, entry.native_area) == ("mine", folder.resolve(), 1024 * 1024)
    assert entry.native_pixels == int(1024 * 1024 * 1.55)
    assert entry.created == int((folder / "model_index.json").stat().st_mtime)
    assert entry.shapes == {
        "unet.mid.q": (4, 8),
        "text_encoder.text_model.encoder.layers.0.q": (2, 2),
        "text_encoder_2.text_model.encoder.layers.0.q": (6, 6),
        "text_encoder_2.text_projection": (6, 6),
    }


@pytest.mark.parametrize(("width", "embeds"), [(None, False), (256, True)])
def test_a_unet_that_reads_the_guidance_scale(folder: Path, width: int | None, embeds: bool) -> None:
    assert open_regular_file(folder).embeds_guidance is False
    write_json(folder / "unet" / "config.json", {"sample_size": 128, "time_cond_proj_dim": width})
    assert open_regular_file(folder).embeds_guidance is embeds


@pytest.mark.parametrize(("budget", "area"), [(2_000_000, 1024 * 1024), (500_000, 500_000)])
def test_the_operators_budget(folder: Path, budget: int, area: int) -> None:
    entry = open_regular_file(folder, budget)
    assert (entry.native_pixels, entry.native_area) == (budget, area)


@pytest.mark.parametrize(
    ("files", "read"),
    [
        (["model.safetensors", "model.fp16.safetensors"], ["model.safetensors"]),
        (["model.fp16.safetensors"], ["model.fp16.safetensors"]),
        (["m-00001-of-00002.safetensors", "m.fp16-00001-of-00002.safetensors"], ["m-00001-of-00002.safetensors"]),
        (["m.safetensors", "m.non_ema.safetensors", "m-00001-of-2.fp16.safetensors"], ["m.safetensors"]),
        (["model.bin"], []),
    ],
)
def test_the_plain_weights_win(tmp_path: Path, files: list[str], read: list[str]) -> None:
    for name in files:
        write(tmp_path / name, WEIGHTS)
    assert [path.name for path in weight_files(tmp_path)] == read


def test_sharded_weights_are_one_component(folder: Path) -> None:
    other = file_bytes({"up.q.weight": (3, 3)})
    write(folder / "unet" / "diffusion_pytorch_model-00002-of-00002.safetensors", other)
    assert module_shapes(folder)["unet.up.q"] == (3, 3)
    assert module_shapes(folder)["unet.mid.q"] == (4, 8)


@pytest.mark.parametrize("index", [b"", b"{", b"5", b"[1]", b"null", b"\xff", b"[" * 10_000])
@pytest.mark.parametrize("name", ["model_index.json", "unet/config.json"])
def test_broken_configs(folder: Path, name: str, index: bytes) -> None:
    write(folder / name, index)
    assert "'mine'" in problem(folder)


@pytest.mark.parametrize("size", [[128, 128], "128", -1, 1.5, True, 10**400])
def test_a_sample_size_that_is_none(folder: Path, size: object) -> None:
    write_json(folder / "unet" / "config.json", {"sample_size": size})
    assert "sample_size" in problem(folder)


@pytest.mark.parametrize("config", [{}, {"sample_size": None}])
def test_without_a_sample_size_it_is_sdxls(folder: Path, config: dict[str, Any]) -> None:
    write_json(folder / "unet" / "config.json", config)
    assert open_regular_file(folder).native_area == 1024 * 1024


def test_another_family(folder: Path) -> None:
    write_json(folder / "model_index.json", {"_class_name": "FluxPipeline"})
    assert problem(folder) == "Checkpoint 'mine' is a FluxPipeline, not an SDXL pipeline."


def test_code_in_the_folder(folder: Path) -> None:
    write(folder / "unet" / "surprise.py", b"")
    assert "Python code" in problem(folder)


def test_missing_weights(folder: Path) -> None:
    shutil.rmtree(folder / "text_encoder_2")
    assert "'text_encoder_2/'" in problem(folder)


def test_broken_weights(folder: Path) -> None:
    write(folder / "unet" / "diffusion_pytorch_model.safetensors", b"\xff" * 64)
    assert "unet/diffusion_pytorch_model.safetensors" in problem(folder)


@pytest.mark.parametrize("path", ["nowhere/at-all", "../up", "a b"])
def test_a_path_that_leads_nowhere(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointProblem, match="neither a folder nor a file"):
        resolve_folder(path, DEMO_MODEL)


def test_a_fingerprint_is_of_the_content(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert fingerprint(copy) == fingerprint(folder)
    write(copy / "README.md", b"words")
    assert fingerprint(copy) == fingerprint(folder)
    write(copy / "unet" / "config.json", b'{"sample_size": 64}')
    assert fingerprint(copy) != fingerprint(folder)


@pytest.mark.parametrize("place", [0, 20 * 64 * 2**10 - 1])
def test_large_weights_are_sampled_at_both_ends(folder: Path, place: int) -> None:
    data = bytearray(20 * 64 * 2**10)
    write(folder / "vae" / "model.safetensors", bytes(data))
    before = fingerprint(folder)
    data[place] = 1
    write(folder / "vae" / "model.safetensors", bytes(data))
    assert fingerprint(folder) != before
