"""Tests that the shipped demo model paints what it is told and that its LoRAs change the style."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("peft")

from safetensors import safe_open  # noqa: E402

from tools.demo_model import evaluate  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "src" / "sdxl_gateway" / "demo_model"
LORAS = ROOT / "src" / "sdxl_gateway" / "demo_loras"
COMPONENTS = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/model.safetensors",
    "text_encoder_2/model.safetensors",
    "tokenizer/tokenizer_config.json",
    "tokenizer_2/tokenizer_config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
)
LIMIT = 16 * 1024 * 1024
STYLED = evaluate.style_cases(6)
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("DeprecationWarning", "FutureWarning", "UserWarning")
]
GAINS = {"outline": 0.6, "sunset": 0.5, "stripes": 0.2}


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Any]:
    """The plain pipeline on two threads, or as many as OMP_NUM_THREADS says."""
    threads = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    yield evaluate.load_pipeline(MODEL)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def plain(pipeline: Any) -> list[Any]:
    """The base model's pictures for the style prompts."""
    return evaluate.paint(pipeline, STYLED, batch=6)


def styled(pipeline: Any, name: str, weight: float) -> list[Any]:
    """The same pictures with a LoRA put on, which is taken off again."""
    pipeline.load_lora_weights(LORAS, weight_name=f"{name}.safetensors", adapter_name=name, local_files_only=True)
    try:
        pipeline.set_adapters(name, weight)
        return evaluate.paint(pipeline, STYLED, batch=6)
    finally:
        pipeline.unload_lora_weights()


def test_every_component_is_there_and_small() -> None:
    for name in COMPONENTS:
        assert (MODEL / name).is_file(), name
    assert sum(path.stat().st_size for path in MODEL.rglob("*") if path.is_file()) <= LIMIT


def test_every_weight_is_float16() -> None:
    for path in MODEL.rglob("*.safetensors"):
        with safe_open(path, "pt") as weights:
            kinds = {weights.get_slice(key).get_dtype() for key in weights.keys()}  # noqa: SIM118
        assert kinds == {"F16"}, path


@pytest.fixture(scope="module")
def figures(pipeline: Any) -> evaluate.Figures:
    """What the 60 prompts that training never saw came to."""
    wanted = evaluate.cases()
    assert len(wanted) == 60
    return evaluate.measure(evaluate.paint(pipeline, wanted), wanted)


def test_things_and_backgrounds_have_their_colours(figures: evaluate.Figures) -> None:
    assert figures.colours >= 0.9, figures
    assert figures.single_colours >= 0.95, figures
    assert figures.backgrounds >= 0.95, figures


def test_single_things_have_their_shape(figures: evaluate.Figures) -> None:
    assert figures.shapes >= 0.8, figures


@pytest.mark.parametrize("name", sorted(GAINS))
def test_lora_changes_the_style(pipeline: Any, plain: list[Any], name: str) -> None:
    before = evaluate.style_mean(name, plain)
    half, after = (evaluate.style_mean(name, styled(pipeline, name, weight)) for weight in (0.5, 1.0))
    assert after - before >= GAINS[name], (before, after)
    assert before < half < after


@pytest.mark.parametrize("name", sorted(GAINS))
def test_lora_files_are_small(name: str) -> None:
    assert (LORAS / f"{name}.safetensors").stat().st_size < 1024 * 1024


def test_the_spellings_differ() -> None:
    def keys(name: str) -> tuple[set[str], dict[str, str]]:
        with safe_open(LORAS / f"{name}.safetensors", "pt") as weights:
            return set(weights.keys()), weights.metadata() or {}

    outline, _ = keys("outline")
    assert all(key.startswith("unet.") and ".lora_" in key for key in outline)
    sunset, metadata = keys("sunset")
    assert all(key.startswith("lora_unet_") for key in sunset)
    assert metadata["ss_network_dim"] != str(int(float(metadata["ss_network_alpha"])))
    assert metadata["ss_base_model_version"] == "sdxl_base_v1-0"
    stripes, _ = keys("stripes")
    assert {"lora_te1", "lora_te2"} <= {key[:8] for key in stripes}
