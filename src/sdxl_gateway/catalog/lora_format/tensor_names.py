"""Parses a tensor's name: the layer it belongs to, its role there, and the algorithm that this implies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from sdxl_gateway.catalog.model_files import TEXT, TEXT_LEVEL

PLAIN_LORA = "kohya"
PEFT = "PEFT"
OLD_DIFFUSERS = "diffusers (old)"
LYCORIS = "LyCORIS"

KEPT_NAMES = 2**14
"""The number of parsed names that are cached; files of one trainer share most of their names."""


@dataclass(frozen=True, slots=True)
class Spelled:
    """`raw` is the layer's name in the file; `algorithm` is None for roles that any algorithm may have."""

    raw: str
    role: str
    algorithm: str | None
    style: str | None = None


_SUFFIXES: tuple[tuple[str, str, str | None, str | None], ...] = (
    (".lora_linear_layer.down.weight", "down", "lora", OLD_DIFFUSERS),
    (".lora_linear_layer.up.weight", "up", "lora", OLD_DIFFUSERS),
    (".lora.down.weight", "down", "lora", OLD_DIFFUSERS),
    (".lora.up.weight", "up", "lora", OLD_DIFFUSERS),
    (".lora_down.weight", "down", "lora", PLAIN_LORA),
    (".lora_up.weight", "up", "lora", PLAIN_LORA),
    (".lora_mid.weight", "mid", "lora", PLAIN_LORA),
    (".lora_up.bias", "bias", "lora", PLAIN_LORA),
    (".lora_B.bias", "bias", "lora", PEFT),
    (".alpha", "alpha", None, None),
    (".dora_scale", "dora_scale", None, None),
    (".diff", "diff", "full", LYCORIS),
    (".diff_b", "diff_b", None, None),
    (".w_norm", "diff", "full", LYCORIS),
    (".b_norm", "diff_b", None, None),
    *((f".hada_{role}", role, "loha", LYCORIS) for role in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")),
    *((f".lokr_{role}", role, "lokr", LYCORIS) for role in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")),
)
_PEFT_FACTOR = re.compile(r"\.lora_(A|B)(?:\.[A-Za-z0-9_-]{1,64})?\.weight\Z")
_PEFT_MAGNITUDE = re.compile(r"\.lora_magnitude_vector(?:\.[A-Za-z0-9_-]{1,64})?\Z")
_OLD_PROCESSOR = re.compile(r"(?:\.processor)?\.to_(q|k|v|out)_lora\.(down|up)\.weight\Z")

FOREIGN_ALGORITHMS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("OFT or BOFT", re.compile(r"\.(oft_blocks|oft_diag|oft_r|oft_R|oft_R\.weight|boft_R|boft_s|rescale|oft_s)\Z")),
    ("IA3", re.compile(r"\.(on_input|ia3_l)\Z")),
    ("GLoRA", re.compile(r"\.(a1|a2|b1|b2|bm)\.weight\Z")),
    ("LoKr with a core tensor in its first factor", re.compile(r"\.lokr_t1\Z")),
    ("weight replacement", re.compile(r"(\.(set_weight|reshape_weight)|\.modules_to_save\..*)\Z")),
    ("VeRA", re.compile(r"\.?vera_(lambda_[bd]|[AB])\Z")),
)


@lru_cache(maxsize=KEPT_NAMES)
def spelled(key: str) -> Spelled | None:
    """The layer and role of the tensor `key`; None if its name has no known form."""
    for suffix, role, algorithm, style in _SUFFIXES:
        if key.endswith(suffix):
            return Spelled(key.removesuffix(suffix), role, algorithm, style)
    if match := _PEFT_FACTOR.search(key):
        return Spelled(key[: match.start()], "down" if match[1] == "A" else "up", "lora", PEFT)
    if match := _PEFT_MAGNITUDE.search(key.removesuffix(".weight")):
        return Spelled(key[: match.start()], "dora_scale", None, PEFT)
    if match := _OLD_PROCESSOR.search(key):
        raw = f"{key[: match.start()]}.{_projection(key, match[1])}"
        return Spelled(raw, match[2], "lora", OLD_DIFFUSERS)
    return None


def _projection(key: str, letter: str) -> str:
    if key.startswith((TEXT, TEXT_LEVEL)):
        return f"{letter}_proj"
    return "to_out.0" if letter == "out" else f"to_{letter}"


def foreign_algorithm(key: str) -> str | None:
    """The algorithm of `key`, if it is a known one that is not supported."""
    return next((name for name, pattern in FOREIGN_ALGORITHMS if pattern.search(key)), None)
