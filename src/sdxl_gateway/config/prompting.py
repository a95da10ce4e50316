"""The settings of prompts: their syntax, styles, embeddings, and enhancement."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator

from sdxl_gateway.config.section import BaseUrl, Key, Seconds, Section

PromptSyntax = Literal["plain", "a1111"]


class Prompts(Section):
    """How prompts are read by default."""

    prompt_syntax: PromptSyntax = "plain"
    long_prompts: bool = True


PLACE = "{prompt}"


def _with_one_place(template: str) -> str:
    if template.count(PLACE) != 1:
        raise ValueError(f"should hold {PLACE} once, where the request's prompt goes")
    return template


class Style(Section):
    """A template for prompts, by a name that requests give as `style`."""

    prompt: Annotated[str, AfterValidator(_with_one_place)] = PLACE
    negative_prompt: str = ""

    def around(self, prompt: str) -> str:
        """The template with the prompt inserted."""
        return self.prompt.replace(PLACE, prompt)


OPENAI_STYLES: Mapping[str, Style] = MappingProxyType(
    {
        "vivid": Style(prompt=f"{PLACE}, vivid colors, dramatic light", negative_prompt="dull, flat"),
        "natural": Style(prompt=f"{PLACE}, natural colors, soft light", negative_prompt="oversaturated, artificial"),
    }
)


def with_openai_styles(styles: dict[str, Style]) -> dict[str, Style]:
    """The configured styles and OpenAI's two, which SDKs send."""
    return {**OPENAI_STYLES, **styles}


class Embeddings(Section):
    """The folder of textual inversions, files that teach the model new words."""

    directory: Path = Path("embeddings")
    watch: bool = True


class Enhancer(Section):
    """A chat model that enriches prompts for requests that ask for it; off without a URL."""

    base_url: BaseUrl | None = None
    model: str = ""
    key: Key | None = None
    timeout_seconds: Seconds = 20.0
