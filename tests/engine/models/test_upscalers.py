"""Nets of the ESRGAN family compute what their papers say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sdxl_gateway.catalog.upscalers import open_upscaler
from sdxl_gateway.config import Upscaler
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.engine.models.upscalers import RRDBNet, load_upscaler
from tests.kit.upscaler_files import Weights, compact, computed, rrdb, rrdb_old, written

CPU = torch.device("cpu")
NETS = [(rrdb, 4), (rrdb, 2), (rrdb, 1), (rrdb_old, 2), (rrdb_old, 4), (rrdb_old, 8), (compact, 2), (compact, 4)]


@pytest.mark.parametrize(("make", "scale"), NETS)
def test_it_computes_what_its_paper_says(tmp_path: Path, make: Callable[[int], Weights], scale: int) -> None:
    weights = make(scale)
    entry = open_upscaler("net", Upscaler(path=written(weights, tmp_path / "net.safetensors", "params_ema.")))
    upscaler = load_upscaler(entry, CPU, torch.float32)
    picture = torch.rand(1, 3, 16, 24)
    with torch.inference_mode():
        found = upscaler.net(picture)
    assert found.shape == (1, 3, 16 * scale, 24 * scale)
    torch.testing.assert_close(found, computed(weights, scale, picture))


def test_a_file_without_all_its_tensors_is_told(tmp_path: Path) -> None:
    weights = rrdb()
    del weights["conv_hr.bias"]
    entry = open_upscaler("net", Upscaler(path=written(weights, tmp_path / "net.safetensors")))
    with pytest.raises(CheckpointProblem, match="Upscaler 'net' cannot be loaded"):
        load_upscaler(entry, CPU, torch.float32)


def test_the_published_net_at_its_true_size() -> None:
    with torch.device("meta"):
        net = RRDBNet(features=64, growth=32, blocks=23)
        found = net(torch.zeros(1, 3, 576, 576))
    assert found.shape == (1, 3, 2304, 2304)
    assert sum(parameter.numel() for parameter in net.parameters()) == 16_697_987
