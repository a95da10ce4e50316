"""Takes the tensors of one adapter for one module part, by role, gives the delta that they define."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.engine.lora.delta import Delta, Dora, Full, Loha, Lokr, Lora


def weight_delta(
    algorithm: str, tensors: Mapping[str, Tensor], *, scale: float | None, alpha: float | None, dora_by_row: bool | None
) -> Delta:
    """The weight delta of one module part; `tensors` by role.

    Without a `scale` it follows from `alpha` and the rank. With `dora_by_row` None the magnitude's shape decides.
    Raises AdapterRefused if a tensor is missing, or tensors do not fit each other.
    """
    try:
        delta = _undecomposed(algorithm, tensors, _Scale(scale, alpha))
        if "dora_scale" in tensors:
            delta = _decomposed(delta, tensors["dora_scale"], dora_by_row)
        _ = delta.shape
    except (KeyError, IndexError) as error:
        raise AdapterRefused("The LoRA file lacks a tensor, or a dimension of one, in one of its layers.") from error
    return delta


@dataclass(frozen=True, slots=True)
class _Scale:
    known: float | None
    alpha: float | None

    def at(self, rank: int) -> float:
        if self.known is not None:
            return self.known
        return self.alpha / rank if self.alpha else 1.0


def _undecomposed(algorithm: str, t: Mapping[str, Tensor], scale: _Scale) -> Delta:
    match algorithm:
        case "lora":
            return Lora(t["up"].flatten(1), t["down"].flatten(1), t.get("mid"), scale.at(t["down"].shape[0]))
        case "loha":
            halves = (t["w1_a"], t["w1_b"], t["w2_a"], t["w2_b"])
            return Loha(*halves, t.get("t1"), t.get("t2"), scale.at(t["w1_b"].shape[0]))
        case "lokr":
            return _lokr(t, scale)
        case _:
            return Full(t["diff"])


def _lokr(t: Mapping[str, Tensor], scale: _Scale) -> Lokr:
    a1, b1 = (None, t["w1"]) if "w1" in t else (t["w1_a"], t["w1_b"])
    a2, b2 = (None, t["w2"]) if "w2" in t else (t["w2_a"], t["w2_b"])
    if a1 is None and a2 is None:
        return Lokr(None, b1, None, b2, None, 1.0)
    rank = b1.shape[0] if a2 is None else b2.shape[0]
    return Lokr(a1, b1, a2, b2, t.get("t2") if a2 is not None else None, scale.at(rank))


def _decomposed(delta: Delta, magnitude: Tensor, by_row: bool | None) -> Dora:
    rows, columns = delta.shape
    if by_row is None:
        by_row = magnitude.dim() < 2 or magnitude.shape[0] == magnitude.numel()
    if (magnitude.numel() != rows) if by_row else (columns % magnitude.numel() != 0):
        raise AdapterRefused("The LoRA file holds a DoRA magnitude that fits neither the rows nor the columns.")
    return Dora(delta, magnitude, by_row)
