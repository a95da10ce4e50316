"""How a recipe's prompts are encoded."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sdxl_gateway.core.prompt_syntax import PLAIN

CLIP_SKIP = 2
"""SDXL was trained with the last layer but one of both text encoders."""

CHUNK_TOKENS = 75
"""The tokens of one chunk of CLIP, between its begin and end tokens."""


@dataclass(frozen=True, slots=True)
class TextReading:
    """All that decides the encoded prompt, besides the text and the text encoders' weights.

    At most `max_chunks` of 75 tokens each are read, split after commas; with one, a longer text is truncated as in
    diffusers. `syntax` is one of prompt_syntax.SYNTAXES. `embeddings` are the lower-case words of textual inversions,
    each with the digest of its file, in their order. `clip_skip` is the layer whose states are used, counted from the
    end as in A1111: 1 is the last one.
    """

    clip_skip: int = CLIP_SKIP
    max_chunks: int = 1
    syntax: str = PLAIN
    embeddings: tuple[tuple[str, str], ...] = ()

    @property
    def of_negative(self) -> TextReading:
        """How the negative prompt is read: always with the default layer, as in diffusers."""
        return replace(self, clip_skip=CLIP_SKIP)


PLAIN_READING = TextReading()
