"""What `pull` fetches of a repository: weights once, in float16 for an engine that paints in it."""

from __future__ import annotations

import sys

import huggingface_hub
import pytest
from typer.testing import CliRunner

from sdxl_gateway.cli import app, pulling
from sdxl_gateway.config import Engine

BOTH = ["unet/config.json", "unet/model.safetensors", "unet/model.fp16.safetensors", "unet/model.fp16.bin"]
SHARDED = [f"unet/m{half}-0000{number}-of-00002.safetensors" for half in ("", ".fp16") for number in (1, 2)]
INDEXES = ["unet/m.safetensors.index.json", "unet/m.safetensors.index.fp16.json"]
PLAIN = [
    "text_encoder/model.safetensors",
    "vae/model.safetensors",
    "vae/model.fp16.safetensors",
    "sd_xl_base.safetensors",
]


@pytest.mark.parametrize(
    ("files", "fetched"),
    [
        (BOTH, ["unet/config.json", "unet/model.fp16.safetensors"]),
        (SHARDED + INDEXES, [*SHARDED[2:], INDEXES[1]]),
        (PLAIN, ["text_encoder/model.safetensors", "vae/model.safetensors"]),
        (["unet/model.fp16.bin", "unet/model.safetensors"], ["unet/model.safetensors"]),
    ],
    ids=["both", "in pieces", "only the VAE", "only a pickle"],
)
def test_what_is_fetched_for_an_engine_that_paints_in_float16(files: list[str], fetched: list[str]) -> None:
    assert sorted(pulling.in_half(files)) == sorted(fetched)


def test_pull_takes_float16_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def download(_: str, *, allow_patterns: list[str], **__: object) -> str:
        asked.append(allow_patterns)
        return "/fetched"

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda *_: BOTH)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    for word in ("--half", "--full"):
        assert CliRunner().invoke(app, ["pull", "org/name", word]).exit_code == 0
    assert asked == [["unet/config.json", "unet/model.fp16.safetensors"], pulling.PATTERNS]


@pytest.mark.parametrize(
    ("engine", "driver", "half"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"device": "cpu"}, True, False),
        ({"dtype": "float16", "device": "cpu"}, False, True),
        ({"dtype": "bfloat16"}, True, False),
    ],
)
def test_who_paints_in_float16(
    engine: dict[str, str], driver: bool, half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "driver_found", lambda: driver)
    monkeypatch.setattr(sys, "platform", "linux")
    assert pulling.paints_in_half(Engine.model_validate(engine)) is half
