"""The settings about prompts: how they are read, and what they may name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sdxl_gateway.config.section import Section

PromptSyntax = Literal["plain", "a1111"]


class Prompts(Section):
    """How prompts are read where nobody says otherwise."""

    prompt_syntax: PromptSyntax = "plain"
    long_prompts: bool = True


class Embeddings(Section):
    """The folder of textual inversions, files that teach words."""

    directory: Path = Path("embeddings")
    watch: bool = True
