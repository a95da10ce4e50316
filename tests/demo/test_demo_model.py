"""Tests that the shipped demo model paints what it is told and that its LoRAs change the style."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("peft")

from safetensors import safe_open  # noqa: E402

from tools.demo_model import evaluate, record  # noqa: E402
from tools.demo_model.shipped import Shipped, measure_shipped  # noqa: E402

MODEL, LORAS = record.MODEL, record.LORAS
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
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("DeprecationWarning", "FutureWarning", "UserWarning")
]
GAINS = {"outline": 0.6, "sunset": 0.5, "stripes": 0.2}
SHARE_TOLERANCE = 1 / evaluate.SINGLES
SCORE_TOLERANCE = 0.02
"""What another processor's arithmetic may move: one picture of the 45 or 60, and a style's mean score a little."""


@pytest.fixture(scope="module")
def measured() -> Iterator[Shipped]:
    """Measured now, in two threads or as many as OMP_NUM_THREADS says."""
    threads = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    yield measure_shipped(MODEL, record.shipped_loras())
    torch.set_num_threads(threads)


@pytest.fixture(params=["recorded", pytest.param("measured", marks=pytest.mark.full)])
def shipped(request: pytest.FixtureRequest) -> Shipped:
    """The figures on record, and, where there is time for it, those of today."""
    if request.param == "recorded":
        return record.recorded()[0]
    found: Shipped = request.getfixturevalue("measured")
    return found


def test_the_figures_on_record_are_of_these_files() -> None:
    complaint = record.complaint(record.recorded()[1], record.digests())
    assert not complaint, complaint


def test_a_changed_file_is_named_with_the_command_that_measures_anew() -> None:
    now = record.digests()
    assert record.complaint(now, now) == ""
    for name in ("model/unet/diffusion_pytorch_model.safetensors", "loras/sunset.safetensors", "code/evaluate.py"):
        for other in ({**now, name: "0" * 64}, {key: value for key, value in now.items() if key != name}):
            said = record.complaint(other, now)
            assert name in said
            assert "python -m tools.demo_model.record" in said


@pytest.mark.full
def test_the_figures_on_record_are_reproduced(measured: Shipped) -> None:
    kept, _ = record.recorded()
    assert dataclasses.asdict(measured.base) == pytest.approx(
        dataclasses.asdict(kept.base), abs=SHARE_TOLERANCE + 1e-9, rel=0
    )
    assert measured.styles.keys() == kept.styles.keys()
    for name, scores in kept.styles.items():
        assert measured.styles[name] == pytest.approx(scores, abs=SCORE_TOLERANCE, rel=0), name


def test_every_component_is_there_and_small() -> None:
    for name in COMPONENTS:
        assert (MODEL / name).is_file(), name
    assert sum(path.stat().st_size for path in MODEL.rglob("*") if path.is_file()) <= LIMIT


def test_every_weight_is_float16() -> None:
    for path in MODEL.rglob("*.safetensors"):
        with safe_open(path, "pt") as weights:
            kinds = {weights.get_slice(key).get_dtype() for key in weights.keys()}  # noqa: SIM118
        assert kinds == {"F16"}, path


def test_sixty_prompts_are_measured() -> None:
    assert len(evaluate.cases()) == 60


def test_things_and_backgrounds_have_their_colours(shipped: Shipped) -> None:
    figures = shipped.base
    assert figures.colours >= 0.9, figures
    assert figures.single_colours >= 0.95, figures
    assert figures.backgrounds >= 0.95, figures


def test_single_things_have_their_shape(shipped: Shipped) -> None:
    assert shipped.base.shapes >= 0.8, shipped.base


@pytest.mark.parametrize("name", sorted(GAINS))
def test_lora_changes_the_style(shipped: Shipped, name: str) -> None:
    before, half, after = shipped.styles[name]
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
