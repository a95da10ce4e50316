"""The settings of the judges of prompts and pictures."""

from __future__ import annotations

from typing import Annotated, Literal

import regex
from pydantic import AfterValidator, BeforeValidator, Field

from sdxl_gateway.config.section import BaseUrl, Key, Seconds, Section, Words
from sdxl_gateway.core.safety import Policy


def _one_or_many(value: object) -> object:
    """An environment variable has a single pattern, not split at commas, as these have a meaning in patterns."""
    return (value,) if isinstance(value, str) else value


def _readable(pattern: str) -> str:
    try:
        regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    return pattern


def _with_letters(word: str) -> str:
    if not any(map(str.isalnum, word)):
        raise ValueError(f"{word!r} holds no letter and no digit")
    return word


Pattern = Annotated[str, AfterValidator(_readable)]
Patterns = Annotated[tuple[Pattern, ...], BeforeValidator(_one_or_many)]


def _all_with_letters(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_with_letters, words))


class Safety(Section):
    """What judges look for, what follows from their findings, and what happens if one fails."""

    policy: Policy = Policy.BLOCK
    failing: Literal["closed", "open"] = "closed"
    deny_words: Annotated[Words, AfterValidator(_all_with_letters)] = ()
    deny_patterns: Patterns = ()
    pictures: Literal["off", "opennsfw"] = "off"
    uploads: bool = False
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    at_once: Annotated[int, Field(ge=1, le=16)] = 2
    seconds: Seconds = 10.0


class Moderation(Section):
    """Another server that judges texts by OpenAI's `/moderations`; off without a URL."""

    base_url: BaseUrl | None = None
    model: str = "omni-moderation-latest"
    key: Key | None = None
    timeout_seconds: Seconds = 5.0
