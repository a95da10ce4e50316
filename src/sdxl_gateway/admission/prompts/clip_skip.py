"""Chooses the layer of the text encoders, within what the checkpoint's encoders have."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.prompt import CLIP_SKIP

_LAYER = re.compile(r"(text_encoder(?:_2)?)\.text_model\.encoder\.layers\.(\d+)\.")


def clip_skip(asked: int | None, usual: int, checkpoint: CheckpointEntry) -> int:
    """The requested layer, else the default, clamped. Raises InvalidRequest for more layers than there are."""
    if asked is None and usual <= CLIP_SKIP:
        return usual
    most = text_layers(checkpoint.shapes)
    if asked is not None and asked > most:
        raise InvalidRequest(
            f"The text encoders of this model have {most} layers; a clip_skip of {asked} leaves none.",
            param="clip_skip",
        )
    return min(usual, most) if asked is None else asked


def text_layers(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The number of layers of the smaller of a checkpoint's text encoders."""
    last: dict[str, int] = {}
    for name in shapes:
        if (found := _LAYER.match(name)) is not None:
            last[found[1]] = max(last.get(found[1], 0), int(found[2]))
    return min(last.values(), default=-1) + 1
