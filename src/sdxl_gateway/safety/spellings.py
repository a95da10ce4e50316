"""Takes words that are not to be painted, gives a pattern of all the ways they are written in plain text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

import regex

from sdxl_gateway.safety.plain_text import plain

SYMBOLS = {"a": "@", "c": "¢", "e": "€", "i": "!|", "l": "|", "s": "$"}
DIGITS = {"a": "4", "b": "8", "e": "3", "g": "9", "i": "1", "l": "1", "o": "0", "s": "5", "t": "7", "z": "2"}
"""What people write in place of letters."""
BOTH = {char: SYMBOLS.get(char, "") + DIGITS.get(char, "") for char in SYMBOLS | DIGITS}
ANY = "*"
"""At a word's end: whatever letters follow; at its start: whatever letters precede."""
BETWEEN = r"[^\p{L}\p{N}\s@¢€!|$]*+"
"""What may stand between letters written close together: dots, dashes and the like, but no symbol that is a letter."""
APART = r"[^\p{L}\p{N}]{1,4}+"
WORDS_APART = r"[^\p{L}\p{N}]*+"
UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
"""Scripts that write words without spaces: there is no edge to look for."""
FEWEST_APART = 3
"""Two letters that each stand for themselves are initials."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """A word's ways: `first` is a class of its first letter, `before` and `after` say where it has to end."""

    before: str
    first: str
    ways: str
    after: str
    of_numbers: bool


def spelling(phrase: str) -> Spelling:
    """Each word's letters stand close together, with dots or dashes between, or each for itself.

    Raises ValueError for a phrase without letters or digits.
    """
    words = ["".join(filter(str.isalnum, word)) for word in plain(phrase.replace(ANY, " ")).split()]
    words = [word for word in words if word]
    if not words:
        raise ValueError(f"{phrase!r} holds no letter and no digit")
    before, after = _edges(phrase.strip(), words)
    ways = WORDS_APART.join(map(_ways, words))
    return Spelling(before, _letter(words[0][0], BOTH), ways, after, "".join(words).isdigit())


def any_of(spellings: Iterable[Spelling]) -> str:
    """One pattern for all, without groups; at each place in a text only words with that first letter are tried.

    It goes back only within bounds: whatever repeats freely is possessive.
    """

    edges = _alike(spellings, "before", "after")
    return "|".join(f"{before}(?:{_by_first(some)}){after}" for (before, after), some in edges)


def _by_first(spellings: Iterable[Spelling]) -> str:
    alike = _alike(spellings, "first")
    return "|".join(f"(?={first})(?:{'|'.join(one.ways for one in some)})" for first, some in alike)


def _alike(spellings: Iterable[Spelling], *names: str) -> Iterator[tuple[Any, Iterator[Spelling]]]:
    key = attrgetter(*names)
    return groupby(sorted(spellings, key=key), key=key)


def letters_and_signs(written: str) -> tuple[int, int]:
    """How many real letters stand in what was found, and how many signs that count as letters, those among them."""
    letters = sum(char.isalpha() for char in written)
    return letters, letters + sum(char.isdigit() or char in "@¢€!|$" for char in written)


def _edges(phrase: str, words: list[str]) -> tuple[str, str]:
    """A word ends where no other letter adjoins it."""
    before = "" if phrase.startswith(ANY) or UNSPACED.match(words[0][0]) else r"(?<!\p{L})"
    after = "" if phrase.endswith(ANY) or UNSPACED.match(words[-1][-1]) else r"(?!\p{L})"
    return before, after


def _ways(word: str) -> str:
    close = _written(word, BETWEEN, BOTH)
    return close if len(word) < FEWEST_APART else f"(?:{close}|{_written(word, APART, DIGITS)})"


def _written(word: str, between: str, others: Mapping[str, str]) -> str:
    """Each letter, or what stands for it; drawn out, a letter is written three times."""
    runs = ((_letter(char, others), len(list(run))) for char, run in groupby(word))
    return between.join(between.join([letter] * times) + _more(letter, times) for letter, times in runs)


def _letter(char: str, others: Mapping[str, str]) -> str:
    return f"[{regex.escape(char)}{others.get(char, '')}]"


def _more(letter: str, times: int) -> str:
    return {1: f"(?:{letter}{{2}})?", 2: f"{letter}?"}.get(times, "")
