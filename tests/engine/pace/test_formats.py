"""A CPU uses bfloat16 if a measurement shows a clear gain, and float32 otherwise."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from sdxl_gateway.core.recipe import NO_BLEND
from sdxl_gateway.engine.pace import formats
from sdxl_gateway.engine.pace.blocks import LEAST_PAIRS, Work
from sdxl_gateway.engine.pace.findings import FILE_NAME, Findings
from sdxl_gateway.engine.pace.formats import format_for_cpu
from tests.kit.engine import psnr, recipe, studio
from tests.kit.engine_loras import admitted, blend, write_lora

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SDXL_PARAMETERS = 3_470_000_000
UNET = {"block_out_channels": [320, 640, 1280]}


@dataclass
class Stopwatch:
    """A processor on which a pass takes a second in float32, and `half` seconds in bfloat16."""

    half: float
    now: float = 0.0
    passes: int = 0

    def __call__(self) -> float:
        return self.now

    def blocks(self, levels: object, size: int, threads: int, dtype: torch.dtype) -> list[Work]:
        def work() -> None:
            self.passes += 1
            self.now += self.half if dtype is torch.bfloat16 else 1.0

        return [work]


@pytest.fixture
def capable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "bfloat16_works", lambda _: True)
    monkeypatch.setattr(formats, "levels_of", lambda _: None)


@pytest.mark.usefixtures("capable")
@pytest.mark.parametrize(("half", "chosen"), [(0.5, torch.bfloat16), (0.8, torch.bfloat16), (0.9, torch.float32)])
def test_bfloat16_where_the_gain_is_clear_measured_once_for_all_starts(
    half: float, chosen: torch.dtype, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    watch = Stopwatch(half)
    monkeypatch.setattr(formats, "blocks_of", watch.blocks)
    for _ in range(2):
        assert format_for_cpu(SDXL_PARAMETERS, UNET, Findings(tmp_path), watch) is chosen
    assert watch.passes == 2 * (1 + LEAST_PAIRS)
    assert list(json.loads((tmp_path / FILE_NAME).read_text()).values()) == [pytest.approx(half)]
    assert f"{half:.2f} of float32's time" in caplog.text
    assert caplog.text.rstrip().endswith(str(chosen).removeprefix("torch."))


@pytest.mark.usefixtures("capable")
def test_what_a_measurement_depends_on_asks_for_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    watch = Stopwatch(0.5)
    monkeypatch.setattr(formats, "blocks_of", watch.blocks)
    for unet, version, threads in ((UNET, "2.13", 1), ({}, "2.13", 1), (UNET, "2.11", 1), (UNET, "2.13", 8)):
        monkeypatch.setattr(torch, "__version__", version)
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        format_for_cpu(SDXL_PARAMETERS, unet, Findings(tmp_path), watch)
    assert len(json.loads((tmp_path / FILE_NAME).read_text())) == 4


@pytest.mark.parametrize(("parameters", "works"), [(6_000_000, True), (SDXL_PARAMETERS, False)])
def test_a_small_model_and_a_processor_without_it_are_not_measured(
    parameters: int, works: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(formats, "bfloat16_works", lambda _: works)
    assert format_for_cpu(parameters, UNET, Findings(tmp_path)) is torch.float32
    assert not list(tmp_path.iterdir())


def test_what_was_measured_is_what_an_engine_paints_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A blend is removed without a trace, and pictures are near the exact ones. A configured format is not measured."""
    exact = studio(tmp_path, device="cpu", dtype="float32")
    monkeypatch.setattr(formats, "LEAST_PARAMETERS", 0)
    monkeypatch.setattr(formats, "bfloat16_works", lambda _: True)
    monkeypatch.setattr(formats, "time_ratio", lambda *_: 0.5)
    fast = studio(tmp_path, device="cpu", dtype="auto")
    assert (exact.engine.dtype, fast.engine.dtype) == ("float32", "bfloat16")
    digest = admitted(write_lora(tmp_path / "1.safetensors", fast.folder, 1, text=True), tmp_path)
    parts = fast.loaded().checkpoint.blendable()
    before = [{key: t.clone() for key, t in part.state_dict().items()} for part in parts.values()]
    bare, other, again = (fast.paint(recipe(blend=one)) for one in (NO_BLEND, blend((digest, 0.9)), NO_BLEND))
    assert bare == again != other
    fast.paint(recipe("another text", steps=1))
    for part, kept in zip(parts.values(), before, strict=True):
        assert all(torch.equal(t, kept[key]) for key, t in part.state_dict().items())
    assert psnr(bare, exact.paint(recipe())) > 30
    for made in (exact, fast):
        made.engine.close()
