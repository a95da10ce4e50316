"""Takes what a LoRA file says of alpha where no factor of it does: in its metadata, or as a zero; gives scales.

A layer's factors are scaled by alpha over rank. An alpha of 0 counts as none, and the scale is 1: the trainers that
write it (kohya's sd-scripts, LyCORIS) take a 0 for the rank, when they train as when they load.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from typing import Any

from sdxl_gateway.catalog.safetensors_header import Header, open_regular_file

TOLD_IN = ("ss_network_alpha", "lora_alpha")
ARGUMENTS_KEY = "ss_network_args"
CONVOLUTION_KEY = "conv_alpha"
MAX_ALPHA = 2**31
MAX_TEXT_CHARS = 100_000


@dataclass(frozen=True, slots=True)
class ToldAlpha:
    """The alpha that the metadata give under `key`; convolutions wider than 1x1 may have one of their own."""

    key: str
    alpha: float
    convolution_alpha: float | None = None

    def scale(self, weight: tuple[int, ...], rank: int) -> float:
        """What the product of the factors of a layer of this shape is multiplied by."""
        own = self.convolution_alpha if prod(weight[2:]) > 1 else None
        alpha = self.alpha if own is None else own
        return alpha / rank if alpha else 1.0

    @property
    def words(self) -> str:
        """For the report."""
        own = "" if self.convolution_alpha is None else f", {CONVOLUTION_KEY} {self.convolution_alpha:g}"
        return f"{self.key} {self.alpha:g}{own}"


def told_alpha(metadata: Mapping[str, str]) -> ToldAlpha | None:
    """What the trainer wrote there; None where it is no number from 0 on."""
    for key in TOLD_IN:
        if (alpha := _number(metadata.get(key))) is not None:
            return ToldAlpha(key, alpha, _number(_arguments(metadata).get(CONVOLUTION_KEY)))
    return None


def _arguments(metadata: Mapping[str, str]) -> Mapping[str, Any]:
    text = metadata.get(ARGUMENTS_KEY, "")
    try:
        found = json.loads(text) if len(text) <= MAX_TEXT_CHARS else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(told: Any) -> float | None:
    """Trainers write numbers as texts, and "None" for none."""
    if isinstance(told, bool) or not isinstance(told, (int, float, str)) or len(str(told)) > 40:
        return None
    try:
        value = float(told)
    except (ValueError, OverflowError):
        return None
    return value if isfinite(value) and 0 <= value <= MAX_ALPHA else None


def count_zeros(path: Path, header: Header, keys: Iterable[str]) -> int:
    """How many of these scalars of the safetensors file are 0, in whatever type. Raises AdapterRefused, OSError."""
    with open_regular_file(path) as file:
        zeros = 0
        for info in sorted((header.tensors[key] for key in keys), key=lambda info: info.start):
            file.seek(header.data_start + info.start)
            zeros += not any(file.read(info.end - info.start))
        return zeros
