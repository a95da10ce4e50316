"""The blend of a request's LoRAs, and the recommendations of these."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum

from sdxl_gateway.catalog.lora_folder.checks import CheckedLora
from sdxl_gateway.catalog.lora_folder.sidecar import Defaults
from sdxl_gateway.catalog.model_grammar import checked_weight
from sdxl_gateway.config import HouseStyle
from sdxl_gateway.core.ask import LoraRef
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.limits import LORA_WEIGHT
from sdxl_gateway.core.prompt_syntax import A1111, PLAIN, escaped
from sdxl_gateway.core.recipe import Blend, BlendPart
from sdxl_gateway.core.text import shown

WEIGHT_DECIMALS = 6
"""Weights are rounded to so many decimals: 0.1 + 0.2 is 0.3."""


def check_count(parts: Sequence[LoraRef], limit: int) -> None:
    """Raises InvalidRequest for more LoRAs than one picture may have."""
    if len(parts) > limit:
        raise InvalidRequest(f"At most {limit} LoRAs go into one picture; {len(parts)} were asked for.", param="loras")


def blend_of(parts: Sequence[LoraRef], adapters: Sequence[CheckedLora]) -> Blend:
    """The blend, the same in whatever order it was written. Raises InvalidRequest for a weight beyond the limit."""
    by_digest: dict[str, list[tuple[LoraRef, BlendPart]]] = {}
    for lora, adapter in zip(parts, adapters, strict=True):
        by_digest.setdefault(adapter.digest, []).append((lora, _part(lora, adapter)))
    return Blend.of([_sum(same) for same in by_digest.values()])


def _part(asked: LoraRef, adapter: CheckedLora) -> BlendPart:
    """A LoRA with the caller's weights, else its own; by default the text encoders have the UNet's weight."""
    recommended = adapter.entry.defaults
    weight = _first(asked.weight, recommended.weight, 1.0)
    own = recommended.text_encoder_weight if asked.weight is None else None
    text = _first(asked.text_encoder_weight, own, weight)
    base, blocks = (asked.blocks[0], asked.blocks[1:]) if asked.blocks else (1.0, ())
    for one in (weight, text, text * base, *(weight * factor for factor in blocks)):
        checked_weight(one, param=asked.param)
    even = all(factor == 1 for factor in blocks)
    return BlendPart(adapter.digest, weight, text * base, adapter.entry.name, () if even else blocks)


def _first(said: float | None, own: float | None, otherwise: float) -> float:
    if said is not None:
        return said
    return own if own is not None else otherwise


def _sum(same: Sequence[tuple[LoraRef, BlendPart]]) -> BlendPart:
    """One part for all LoRAs of the same file; weights are added exactly, so that their order has no effect."""
    if len(same) > 1 and any(part.blocks for _, part in same):
        name = shown(same[0][1].name)
        raise InvalidRequest(f"The LoRA {name} has block weights and is asked for twice.", param=same[-1][0].param)
    weight = round(fsum(part.weight for _, part in same), WEIGHT_DECIMALS)
    text = round(fsum(part.text_encoder_weight for _, part in same), WEIGHT_DECIMALS)
    name = min(part.name for _, part in same)
    if max(abs(weight), abs(text)) > LORA_WEIGHT:
        raise InvalidRequest(
            f"The weights given to the LoRA {shown(name)} add up to more than {LORA_WEIGHT:g}.",
            param=same[-1][0].param,
        )
    return BlendPart(same[0][1].digest, weight, text, name, same[0][1].blocks)


def recommendations(blend: Blend, adapters: Sequence[CheckedLora]) -> list[Defaults]:
    """The recommendations of the LoRAs in effect, the strongest LoRA's first, in whatever order they were given."""
    parts = sorted(blend.parts, key=lambda part: (-abs(part.weight), part.name))
    entries = {(adapter.digest, adapter.entry.name): adapter.entry for adapter in adapters}
    return [entries[part.digest, part.name].defaults for part in parts]


def with_triggers(prompt: str, style: HouseStyle, recommended: Sequence[Defaults], syntax: str = PLAIN) -> str:
    """The prompt, preceded by the trigger words that are to be added and that it lacks; these may have any syntax."""
    words = [word for one in recommended if one.add_trigger_words for word in one.trigger_words]
    if style.add_trigger_words and style.trigger_words:
        words.append(style.trigger_words)
    words = [escaped(word) for word in words] if syntax == A1111 else words
    missing = [word for word in dict.fromkeys(words) if word.lower() not in prompt.lower()]
    return ", ".join([*missing, prompt] if prompt else missing)
