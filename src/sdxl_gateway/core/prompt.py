"""Says how a recipe's texts are read on their way to the UNet."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sdxl_gateway.core.prompt_syntax import PLAIN

CLIP_SKIP = 2
"""SDXL was trained on the last layer but one of both text encoders."""

CHUNK_TOKENS = 75
"""What CLIP reads at once, between the marks of beginning and end."""


@dataclass(frozen=True, slots=True)
class TextReading:
    """Beside the text and the text encoders' weights, all that decides what the UNet is told.

    `max_chunks` of 75 tokens each are read, parted after commas; with one, a longer text is cut as diffusers cuts it.
    `syntax` is one of prompt_syntax.SYNTAXES. `embeddings` are the lower-case words that files teach, each with the
    digest of its file, in their order. `clip_skip` is the layer whose states are taken, counted from the end: 1 is the
    last one, as A1111 counts.
    """

    clip_skip: int = CLIP_SKIP
    max_chunks: int = 1
    syntax: str = PLAIN
    embeddings: tuple[tuple[str, str], ...] = ()

    @property
    def of_negative(self) -> TextReading:
        """How the negative prompt is read: at the usual layer always, as diffusers does."""
        return replace(self, clip_skip=CLIP_SKIP)


PLAIN_READING = TextReading()
