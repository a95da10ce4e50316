"""What an upscaler is, by its header; and what is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sdxl_gateway.catalog.upscalers import Architecture, open_upscaler, open_upscalers
from sdxl_gateway.config import Upscaler
from sdxl_gateway.core.errors import CheckpointProblem
from tests.kit.upscaler_files import BLOCKS, FEATURES, Weights, compact, rrdb, rrdb_old, written

NETS: list[tuple[Architecture, Callable[[int], Weights], int]] = [
    (Architecture.RRDB, rrdb, 4),
    (Architecture.RRDB, rrdb, 2),
    (Architecture.RRDB, rrdb, 1),
    (Architecture.RRDB_OLD, rrdb_old, 2),
    (Architecture.RRDB_OLD, rrdb_old, 4),
    (Architecture.RRDB_OLD, rrdb_old, 8),
    (Architecture.COMPACT, compact, 2),
    (Architecture.COMPACT, compact, 4),
]


@pytest.mark.parametrize(("architecture", "make", "scale"), NETS)
@pytest.mark.parametrize("before", ["", "params_ema.", "params."])
def test_told_by_its_header(
    tmp_path: Path, architecture: Architecture, make: Callable[[int], Weights], scale: int, before: str
) -> None:
    path = written(make(scale), tmp_path / "net.safetensors", before)
    entry = open_upscalers({"net": Upscaler(path=path)})["net"]
    assert (entry.architecture, entry.scale, entry.features, entry.blocks) == (architecture, scale, FEATURES, BLOCKS)
    assert len(entry.digest) == 64


def without(weights: Weights, name: str) -> Weights:
    return {key: tensor for key, tensor in weights.items() if key != name}


NONE: list[Weights] = [
    {"unet.conv_in.weight": torch.zeros(4, 4, 3, 3)},
    {"body.0.weight": torch.zeros(8, 1, 3, 3), "body.2.weight": torch.zeros(3, 8, 3, 3)},
    {"body.0.weight": torch.zeros(8, 3, 3, 3), "body.2.weight": torch.zeros(7, 8, 3, 3)},
    {"body.0.weight": torch.zeros(8, 3)},
    without(rrdb(), "conv_first.weight"),
    rrdb() | {"conv_first.weight": torch.zeros(8, 5, 3, 3)},
    without(rrdb_old(), "model.0.weight"),
]


@pytest.mark.parametrize("weights", NONE)
def test_what_is_none(tmp_path: Path, weights: Weights) -> None:
    path = written(weights, tmp_path / "net.safetensors")
    with pytest.raises(CheckpointProblem, match="Upscaler 'net' is no net of the ESRGAN family"):
        open_upscaler("net", Upscaler(path=path))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04" + b"\0" * 100])
def test_what_is_no_safetensors_file(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(data)
    with pytest.raises(CheckpointProblem, match="safetensors"):
        open_upscaler("net", Upscaler(path=path))
    with pytest.raises(CheckpointProblem, match="cannot be opened"):
        open_upscaler("net", Upscaler(path=tmp_path / "absent"))
