"""Separates A1111's LoRA tags from prompts."""

from __future__ import annotations

import re

from sdxl_gateway.catalog.model_grammar import WEIGHT, checked_blocks, checked_weight
from sdxl_gateway.core.ask import LoraRef
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.text import shown

_TAG = re.compile(r"<(?:lora|lyco):([^<>:]+)((?::[^<>:]*)*)>", re.IGNORECASE)
_WEIGHTS = ("te", "unet")
_BLOCKS = "lbw"


def cut_prompt_tags(prompt: str) -> tuple[str, tuple[LoraRef, ...]]:
    """The prompt without A1111's `<lora:name:weight>` tags, and the LoRAs in these.

    One number is the weight of everything; two are the text encoders' and the UNet's; `te=` and `unet=` name them, and
    with `unet=` alone the text encoders' is 1. `lbw=` gives block weights. Raises InvalidRequest naming `prompt`, also
    for anything else in a tag.
    """
    parts = tuple(_tag_part(match) for match in _TAG.finditer(prompt))
    if not parts:
        return prompt, ()
    return re.sub(r"[ \t]{2,}", " ", _TAG.sub("", prompt)).strip(" ,\t"), parts


def parted_from_tags(prompt: str) -> tuple[str, str]:
    """The prompt without its tags, and the tags as they were written, valid or not."""
    return _TAG.sub("", prompt).strip(), "".join(f" {match[0]}" for match in _TAG.finditer(prompt))


def refuse_tags(text: str, *, param: str) -> None:
    """Raises InvalidRequest naming `param` if `text` has a tag; tags there would have no effect."""
    if (found := _TAG.search(text)) is not None:
        raise InvalidRequest(
            f"The LoRA tag {shown(found[0])} has no effect in '{param}'; in 'prompt' a negative weight turns a LoRA "
            "around.",
            param=param,
        )


def _tag_part(match: re.Match[str]) -> LoraRef:
    said = _said(match)
    blocks = _blocks(said.pop(_BLOCKS), match[0]) if _BLOCKS in said else ()
    weights = {key: checked_weight(_number(text, match[0]), param="prompt") for key, text in said.items()}
    if "unet" not in weights:
        return LoraRef(match[1].strip(), weights.get("te"), param="prompt", blocks=blocks)
    unet, text = weights["unet"], weights.get("te", 1.0)
    return LoraRef(match[1].strip(), unet, text if text != unet else None, param="prompt", blocks=blocks)


def _said(match: re.Match[str]) -> dict[str, str]:
    """A tag's values of "te", "unet" and "lbw"."""
    fields = [field.strip() for field in match[2].split(":") if field.strip()]
    plain = [field for field in fields if "=" not in field]
    if len(plain) > len(_WEIGHTS):
        raise _refused(match[0], "after two weights nothing more is read")
    said = dict(zip(_WEIGHTS, plain, strict=False))
    for field in fields:
        key, is_named, value = field.partition("=")
        if is_named:
            said[_known(key, match[0])] = value.strip()
    return said


def _known(key: str, tag: str) -> str:
    word = key.strip().lower()
    if word not in (*_WEIGHTS, _BLOCKS):
        raise _refused(tag, f"{shown(word)} is not read here, only 'te', 'unet' and 'lbw' are")
    return word


def _blocks(text: str, tag: str) -> tuple[float, ...]:
    return checked_blocks([_number(one.strip(), tag) for one in text.split(",")], param="prompt")


def _number(text: str, tag: str) -> float:
    if not WEIGHT.fullmatch(text):
        raise _refused(tag, f"the weight {shown(text)} is not a number")
    return float(text)


def _refused(tag: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid LoRA tag {shown(tag)}: {reason}.", param="prompt")
