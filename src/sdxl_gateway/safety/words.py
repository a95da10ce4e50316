"""Takes the operator's words and patterns, tells whether a text holds one of them, in whatever disguise."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence

import regex

from sdxl_gateway.core.safety import Verdict
from sdxl_gateway.safety.failure import JudgeFailed
from sdxl_gateway.safety.plain_text import plain
from sdxl_gateway.safety.spellings import Spelling, any_of, letters_and_signs, spelling

DENIED = "deny_list"
"""The category of what this judge finds."""
SECONDS = 1.0
"""Of the processor's time, for one pattern and one text."""
FLAGS = regex.IGNORECASE | regex.VERSION0


class DeniedWords:
    """`words` are found however they are spelled; `patterns` are searched in the text as it came and as it reads."""

    def __init__(self, words: Iterable[str], patterns: Sequence[str]) -> None:
        """Raises ValueError for a word without letters, `regex.error` for what is no pattern."""
        spelt = [spelling(word) for word in words]
        self._words = _pattern([one for one in spelt if not one.of_numbers])
        self._numbers = _pattern([one for one in spelt if one.of_numbers])
        self._patterns = [regex.compile(pattern, FLAGS) for pattern in patterns]

    @property
    def empty(self) -> bool:
        """There is nothing to look for."""
        return not (self._words or self._numbers or self._patterns)

    async def judge(self, texts: Sequence[str]) -> Verdict:
        """On a thread, which leaves the others their turns. Raises JudgeFailed where a pattern takes too long."""
        return await asyncio.to_thread(self._judge, texts)

    def _judge(self, texts: Sequence[str]) -> Verdict:
        try:
            found = any(self._holds(text) for text in texts)
        except TimeoutError:
            raise JudgeFailed("late", "a pattern took too long") from None
        return Verdict((DENIED,) if found else (), {DENIED: float(found)})

    def _holds(self, text: str) -> bool:
        read = plain(text)
        return (
            any(map(_meant, _found(self._words, read)))
            or any(_found(self._numbers, read))
            or any(any(_found(pattern, one)) for pattern in self._patterns for one in dict.fromkeys((text, read)))
        )


def _pattern(spelt: Sequence[Spelling]) -> regex.Pattern[str] | None:
    return regex.compile(any_of(spelt)) if spelt else None


def _found(pattern: regex.Pattern[str] | None, text: str) -> Iterator[str]:
    """What of the text fits; other threads run meanwhile. Raises TimeoutError."""
    if pattern is not None:
        for match in pattern.finditer(text, overlapped=True, timeout=SECONDS, concurrent=True):
            yield match[0]


def _meant(written: str) -> bool:
    """Numbers are no words: of what stands together a third has to be letters, of what stands apart more than half."""
    letters, signs = letters_and_signs(written)
    return letters * 2 > signs if any(map(str.isspace, written)) else letters * 3 >= signs
