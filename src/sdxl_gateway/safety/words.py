"""Takes the operator's denied words and patterns, judges whether a text contains one, also in disguised spelling."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence

import regex

from sdxl_gateway.core.safety import Verdict
from sdxl_gateway.safety.failure import JudgeFailed
from sdxl_gateway.safety.plain_text import plain
from sdxl_gateway.safety.spellings import Spelling, any_of, letters_and_signs, spelling

DENIED = "deny_list"
"""The category of this judge's findings."""
SECONDS = 1.0
"""The most CPU time for one pattern and one text."""
FLAGS = regex.IGNORECASE | regex.VERSION0


class DeniedWords:
    """`words` are found in any spelling; `patterns` are searched in the original text and in its plain form."""

    def __init__(self, words: Iterable[str], patterns: Sequence[str]) -> None:
        """Raises ValueError for a word without letters, `regex.error` for an invalid pattern."""
        spelt = [spelling(word) for word in words]
        self._words = _pattern([one for one in spelt if not one.of_numbers])
        self._numbers = _pattern([one for one in spelt if one.of_numbers])
        self._patterns = [regex.compile(pattern, FLAGS) for pattern in patterns]

    @property
    def empty(self) -> bool:
        """There is nothing to look for."""
        return not (self._words or self._numbers or self._patterns)

    async def judge(self, texts: Sequence[str]) -> Verdict:
        """On a thread, releasing the GIL. Raises JudgeFailed if a pattern takes too long."""
        return await asyncio.to_thread(self._judge, texts)

    def _judge(self, texts: Sequence[str]) -> Verdict:
        try:
            found = any(self._holds(text) for text in texts)
        except TimeoutError:
            raise JudgeFailed("late", "a pattern took too long") from None
        return Verdict((DENIED,) if found else (), {DENIED: float(found)})

    def _holds(self, text: str) -> bool:
        plain_text = plain(text)
        return (
            any(map(_is_word, _matches(self._words, plain_text)))
            or any(_matches(self._numbers, plain_text))
            or any(
                any(_matches(pattern, one)) for pattern in self._patterns for one in dict.fromkeys((text, plain_text))
            )
        )


def _pattern(spelt: Sequence[Spelling]) -> regex.Pattern[str] | None:
    return regex.compile(any_of(spelt)) if spelt else None


def _matches(pattern: regex.Pattern[str] | None, text: str) -> Iterator[str]:
    """All matches in the text, overlapping ones too; releases the GIL. Raises TimeoutError."""
    if pattern is not None:
        for match in pattern.finditer(text, overlapped=True, timeout=SECONDS, concurrent=True):
            yield match[0]


def _is_word(match: str) -> bool:
    """Not a number: written together a third of its signs must be real letters, spaced out more than half."""
    letters, signs = letters_and_signs(match)
    return letters * 2 > signs if any(map(str.isspace, match)) else letters * 3 >= signs
