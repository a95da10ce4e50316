"""Finds the words of files, such as embeddings, in a text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator


def occurrences(words: Iterable[str], text: str) -> Iterator[tuple[str, int, int]]:
    """Each occurrence in `text` as word, start and end, the longest that matches; words match as whole words only."""
    longest_first = sorted(words, key=len, reverse=True)
    if not longest_first:
        return
    for match in re.finditer("|".join(f"({_bounded(word)})" for word in longest_first), text, re.IGNORECASE):
        # The words themselves hold no groups: the group that matched tells which one it is.
        yield longest_first[(match.lastindex or 1) - 1], match.start(), match.end()


def is_in(word: str, text: str) -> bool:
    """Whether the lower-case `word` occurs in the text, by the same rule; most are ruled out without a pattern."""
    return word in text.lower() and re.search(_bounded(word), text, re.IGNORECASE) is not None


def _bounded(word: str) -> str:
    before = r"(?<!\w)" if re.match(r"\w", word) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", word) else ""
    return before + re.escape(word) + after
