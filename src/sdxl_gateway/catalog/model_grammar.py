"""Splits a model name into its parts: a base and the LoRAs applied to it.

    model name = base { "+" part } | part { "+" part }
    part       = lora [ ":" weight ]          weight: -4 .. 4

Names are only split here; their parts are looked up in tables, and never joined to a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import islice

from sdxl_gateway.core.ask import LoraRef
from sdxl_gateway.core.blocks import every_block
from sdxl_gateway.core.errors import InvalidRequest, ModelNotFound
from sdxl_gateway.core.limits import LORA_WEIGHT
from sdxl_gateway.core.text import shown

MAX_NAME_CHARS = 512
MAX_NAMES_COMPARED = 1000
WEIGHT = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)")


def split_model(name: str) -> tuple[LoraRef, ...]:
    """The `+`-separated parts of a model name, in order; the first may be a checkpoint. Raises InvalidRequest."""
    if len(name) > MAX_NAME_CHARS:
        raise InvalidRequest(f"A model name has at most {MAX_NAME_CHARS} characters.", param="model")
    pieces = [piece.strip() for piece in name.split("+")]
    if not all(pieces):
        raise InvalidRequest(f"Invalid model name {shown(name)}: a part between '+' is empty.", param="model")
    return tuple(split_part(piece, param="model") for piece in pieces)


def split_part(text: str, *, param: str) -> LoraRef:
    """`name` or `name:weight`. A colon not followed by a number belongs to the name. Raises InvalidRequest."""
    head, colon, tail = text.rpartition(":")
    weight = tail.strip()
    if not colon or not head.strip() or not WEIGHT.fullmatch(weight):
        return LoraRef(text.strip(), param=param)
    return LoraRef(head.strip(), checked_weight(float(weight), param=param), param=param)


def checked_weight(weight: float, *, param: str) -> float:
    """`weight` itself if it is within the limits. Raises InvalidRequest naming `param`."""
    if not -LORA_WEIGHT <= weight <= LORA_WEIGHT:
        raise InvalidRequest(
            f"A LoRA weight lies between -{LORA_WEIGHT:g} and {LORA_WEIGHT:g}; {weight:g} does not.", param=param
        )
    return weight


def checked_blocks(values: Sequence[float], *, param: str) -> tuple[float, ...]:
    """The factors of the text encoders and of every block. Raises InvalidRequest naming `param`."""
    for value in values:
        checked_weight(value, param=param)
    blocks = every_block(values)
    if blocks is None:
        raise InvalidRequest(
            f"Block weights are 12 or 20 numbers, as for SDXL in other tools; {len(values)} were given.", param=param
        )
    return blocks


def not_found(name: str, known: Iterable[str], *, kind: str = "model") -> ModelNotFound:
    """The error for an unknown name, with the nearest known one (among the first thousand: each is compared)."""
    near = get_close_matches(name, list(islice(known, MAX_NAMES_COMPARED)), n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return ModelNotFound(f"The {kind} {shown(name)} does not exist.{hint}")
