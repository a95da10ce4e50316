"""Takes a prompt, gives it without A1111's LoRA tags, and the LoRAs these name."""

from __future__ import annotations

import re

from sdxl_gateway.catalog.model_grammar import WEIGHT, checked_weight
from sdxl_gateway.core.ask import LoraRef
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.text import shown

_TAG = re.compile(r"<(?:lora|lyco):([^<>:]+)((?::[^<>:]*)*)>", re.IGNORECASE)


def cut_prompt_tags(prompt: str) -> tuple[str, tuple[LoraRef, ...]]:
    """A1111's `<lora:name:weight>` tags, cut out of the prompt.

    One number is the weight of everything; two are the text encoders' and the UNet's; `te=` and `unet=` name them,
    and beside `unet=` alone the text encoders' is 1. Raises InvalidRequest naming `prompt`.
    """
    parts = tuple(_tag_part(match) for match in _TAG.finditer(prompt))
    if not parts:
        return prompt, ()
    return re.sub(r"[ \t]{2,}", " ", _TAG.sub("", prompt)).strip(" ,\t"), parts


def _tag_part(match: re.Match[str]) -> LoraRef:
    weights = _tag_weights(match)
    if "unet" not in weights:
        return LoraRef(match[1].strip(), weights.get("te"), param="prompt")
    unet, text = weights["unet"], weights.get("te", 1.0)
    return LoraRef(match[1].strip(), unet, text if text != unet else None, param="prompt")


def _tag_weights(match: re.Match[str]) -> dict[str, float]:
    """What a tag says of "te" and "unet"; fields of other names belong to other tools."""
    fields = [field.strip() for field in match[2].split(":")[1:]]
    said = dict(zip(("te", "unet"), (field for field in fields if field and "=" not in field), strict=False))
    for field in fields:
        key, is_named, value = field.partition("=")
        if is_named and key.strip().lower() in ("te", "unet"):
            said[key.strip().lower()] = value.strip()
    return {key: _tag_number(text, match[0]) for key, text in said.items()}


def _tag_number(text: str, tag: str) -> float:
    if not WEIGHT.fullmatch(text):
        raise InvalidRequest(f"Invalid LoRA tag {shown(tag)}: the weight is not a number.", param="prompt")
    return checked_weight(float(text), param="prompt")
