"""Block weights of LoRAs, in the forms that other tools write them; and the block of each of SDXL's layers."""

from __future__ import annotations

import re
from collections.abc import Sequence

BASE = "BASE"
"""The block weight of the text encoders."""
BLOCKS = (*(f"IN{n:02}" for n in range(9)), "M00", *(f"OUT{n:02}" for n in range(9)))
_ATTENTIVE = ("IN04", "IN05", "IN07", "IN08", "M00", *(f"OUT{n:02}" for n in range(6)))
"""The blocks with attention, the only ones that most LoRAs change."""
_FORMS = {len(names): names for names in ((BASE, *BLOCKS), (BASE, *_ATTENTIVE))}
_LEVEL = re.compile(r"unet\.(down|up)_blocks\.([0-2])\.(?:(?:resnets|attentions)\.([0-2])|(?:down|up)samplers)\.")
_LEVELS_BLOCKS = 3


def every_block(values: Sequence[float]) -> tuple[float, ...] | None:
    """The weights of BASE and all of BLOCKS, from as many or from those of BASE and the blocks with attention.

    A block without a weight gets 0: the LoRA does not change it. None for any other number of values.
    """
    names = _FORMS.get(len(values))
    if names is None:
        return None
    named = dict(zip(names, values, strict=True))
    return tuple(float(named.get(name, 0.0)) for name in (BASE, *BLOCKS))


def block_of(layer: str) -> int | None:
    """The one of BLOCKS that a layer is in, by its name in diffusers; None for layers outside all of them."""
    if layer.startswith("unet.conv_in."):
        return 0
    if layer.startswith("unet.mid_block."):
        return BLOCKS.index("M00")
    match = _LEVEL.match(layer)
    if match is None:
        return None
    down = match[1] == "down"
    # A level ends with its resampling: a block of its own on the way down, part of the last block on the way up.
    place = int(match[3]) if match[3] is not None else _LEVELS_BLOCKS - 1
    return BLOCKS.index("IN01" if down else "OUT00") + _LEVELS_BLOCKS * int(match[2]) + place
