"""A device that cannot multiply in 8 bits is refused with the reason, before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.engine.models import fp8_proof
from sdxl_gateway.engine.models.fp8_proof import prove, refuse_unable

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_proof_that_the_start_asks_for(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    prove(CPU, dtype)
    monkeypatch.setattr(fp8_proof, "product", lambda layer, x: x[:, :32])
    with pytest.raises(RuntimeError, match="wrong"):
        prove(CPU, dtype)


def _card(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], prove: Callable[..., None]) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Card")
    monkeypatch.setattr(fp8_proof, "prove", prove)


def _proved(*_: Any) -> None:
    pass


def _failing(*_: Any) -> None:
    raise RuntimeError("CUDA error: no such thing\nCompile with ...")


@pytest.mark.parametrize(
    ("device", "capability", "dtype", "prove", "reason"),
    [
        ("cuda", (8, 6), torch.float16, _proved, r"needs compute capability 8\.9 .*the Card has 8\.6\.$"),
        ("cuda", (9, 0), torch.float32, _proved, "engine.dtype"),
        ("cuda", (9, 0), torch.float16, _failing, "cannot compute here: CUDA error: no such thing$"),
        ("cpu", (9, 0), torch.float32, _proved, "cpu is none"),
        ("mps", (9, 0), torch.float16, _proved, "mps is none"),
    ],
)
def test_who_cannot_is_told_why(
    monkeypatch: pytest.MonkeyPatch, device: str, capability: Any, dtype: torch.dtype, prove: Any, reason: str
) -> None:
    _card(monkeypatch, capability, prove)
    with pytest.raises(CheckpointProblem, match=reason):
        refuse_unable(torch.device(device), dtype)


@pytest.mark.parametrize("capability", [(8, 9), (9, 0), (10, 0), (12, 0)])
def test_who_can(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    _card(monkeypatch, capability, _proved)
    refuse_unable(torch.device("cuda"), torch.float16)
