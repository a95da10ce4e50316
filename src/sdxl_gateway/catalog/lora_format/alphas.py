"""The scales of LoRA layers whose alpha is not in a tensor of its own but in the metadata, or is 0.

A layer's factors are scaled by alpha over rank. An alpha of 0 counts as none, which makes the scale 1: the trainers
that write it (kohya's sd-scripts, LyCORIS) replace it by the rank, in training as in loading.
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
    """The alpha in the metadata, under `key`; convolutions larger than 1x1 may have another."""

    key: str
    alpha: float
    convolution_alpha: float | None = None

    def scale(self, weight: tuple[int, ...], rank: int) -> float:
        """The factor of a layer's change, for a layer whose weight has this shape."""
        own = self.convolution_alpha if prod(weight[2:]) > 1 else None
        alpha = self.alpha if own is None else own
        return alpha / rank if alpha else 1.0

    @property
    def words(self) -> str:
        """The alphas as text, for the report."""
        own = "" if self.convolution_alpha is None else f", {CONVOLUTION_KEY} {self.convolution_alpha:g}"
        return f"{self.key} {self.alpha:g}{own}"


def told_alpha(metadata: Mapping[str, str]) -> ToldAlpha | None:
    """The alpha in the metadata; None if there is none, or it is not a number from 0 on."""
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
    """Trainers write numbers as text, and "None" if there is none."""
    if isinstance(told, bool) or not isinstance(told, (int, float, str)) or len(str(told)) > 40:
        return None
    try:
        value = float(told)
    except (ValueError, OverflowError):
        return None
    return value if isfinite(value) and 0 <= value <= MAX_ALPHA else None


def count_zeros(path: Path, header: Header, keys: Iterable[str]) -> int:
    """How many of these scalar tensors of the safetensors file are 0, of any type. Raises AdapterRefused, OSError."""
    with open_regular_file(path) as file:
        zeros = 0
        for info in sorted((header.tensors[key] for key in keys), key=lambda info: info.start):
            file.seek(header.data_start + info.start)
            zeros += not any(file.read(info.end - info.start))
        return zeros
