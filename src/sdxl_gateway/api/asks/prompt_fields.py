"""The fields, besides the prompt itself, that decide which text is encoded, and how."""

from __future__ import annotations

from sdxl_gateway.api.asks.field import PROMPTED, Field, Kind
from sdxl_gateway.config import Limits
from sdxl_gateway.core.limits import CLIP_SKIP
from sdxl_gateway.core.prompt_syntax import SYNTAXES


def prompt_fields(limits: Limits) -> tuple[Field, ...]:
    """Rows of the table in fields.py."""
    return (
        Field(
            "negative_prompt",
            Kind.TEXT,
            "What the picture should not show; needs guidance above 1.",
            max_chars=limits.max_prompt_chars,
            extension=True,
        ),
        Field("enhance", Kind.FLAG, "Let a chat model rewrite the prompt first.", PROMPTED, extension=True),
        Field(
            "prompt_syntax",
            Kind.CHOICE,
            "How both prompts are read: `a1111` weighs words, `(red:1.3)`; `plain` has no marks.",
            choices=SYNTAXES,
            extension=True,
        ),
        Field(
            "long_prompts",
            Kind.FLAG,
            "Read prompts of more than 75 tokens in parts; if false, cut them. The server's setting when absent.",
            extension=True,
        ),
        Field(
            "clip_skip",
            Kind.INTEGER,
            "Which layer of the text encoders to use, counted from the end: 1 is the last, 2 (SDXL's usual) the "
            "last but one.",
            low=1,
            high=CLIP_SKIP,
            extension=True,
        ),
    )
