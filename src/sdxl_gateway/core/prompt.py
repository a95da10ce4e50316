"""Says how a recipe's texts are read on their way to the UNet."""

from __future__ import annotations

from dataclasses import dataclass, replace

CLIP_SKIP = 2
"""SDXL was trained on the last layer but one of both text encoders."""


@dataclass(frozen=True, slots=True)
class TextReading:
    """Beside the text and the text encoders' weights, all that decides what the UNet is told.

    `clip_skip` is the layer whose states are taken, counted from the end: 1 is the last one, as A1111 counts.
    """

    clip_skip: int = CLIP_SKIP

    @property
    def of_negative(self) -> TextReading:
        """How the negative prompt is read: at the usual layer always, as diffusers does."""
        return replace(self, clip_skip=CLIP_SKIP)


PLAIN_READING = TextReading()
