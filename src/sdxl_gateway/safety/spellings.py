"""Takes denied words, gives a regular expression for all the ways to spell them in plain text (plain_text.py)."""

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
"""Written in place of letters."""
BOTH = {char: SYMBOLS.get(char, "") + DIGITS.get(char, "") for char in SYMBOLS | DIGITS}
ANY = "*"
"""A wildcard at a word's start or end: any letters may precede or follow."""
BETWEEN = r"[^\p{L}\p{N}\s@¢€!|$]*+"
"""Allowed between letters written close together: dots, dashes and the like, but no symbol used as a letter."""
APART = r"[^\p{L}\p{N}]{1,4}+"
WORDS_APART = r"[^\p{L}\p{N}]*+"
UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
"""Scripts that write words without spaces, where no word boundary is looked for."""
FEWEST_APART = 3
"""A shorter word is not matched with its letters spaced out, as two single letters are usually initials."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """Patterns of a phrase: `first` matches its first letter, `ways` all of it, `before` and `after` its boundaries."""

    before: str
    first: str
    ways: str
    after: str
    of_numbers: bool


def spelling(phrase: str) -> Spelling:
    """Each word's letters may be close together, possibly with dots or dashes between them, or spaced out.

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
    """One pattern for all, without groups; at each position only words with that first letter are tried.

    Backtracking is bounded, as unbounded repetitions are possessive.
    """
    edges = _grouped(spellings, "before", "after")
    return "|".join(f"{before}(?:{_by_first(some)}){after}" for (before, after), some in edges)


def _by_first(spellings: Iterable[Spelling]) -> str:
    groups = _grouped(spellings, "first")
    return "|".join(f"(?={first})(?:{'|'.join(one.ways for one in some)})" for first, some in groups)


def _grouped(spellings: Iterable[Spelling], *names: str) -> Iterator[tuple[Any, Iterator[Spelling]]]:
    key = attrgetter(*names)
    return groupby(sorted(spellings, key=key), key=key)


def letters_and_signs(written: str) -> tuple[int, int]:
    """The number of letters in a match, and of all characters that may stand for letters, including those."""
    letters = sum(char.isalpha() for char in written)
    return letters, letters + sum(char.isdigit() or char in "@¢€!|$" for char in written)


def _edges(phrase: str, words: list[str]) -> tuple[str, str]:
    """No other letter may adjoin the phrase, except at a wildcard or in a script without spaces."""
    before = "" if phrase.startswith(ANY) or UNSPACED.match(words[0][0]) else r"(?<!\p{L})"
    after = "" if phrase.endswith(ANY) or UNSPACED.match(words[-1][-1]) else r"(?!\p{L})"
    return before, after


def _ways(word: str) -> str:
    close = _written(word, BETWEEN, BOTH)
    return close if len(word) < FEWEST_APART else f"(?:{close}|{_written(word, APART, DIGITS)})"


def _written(word: str, between: str, others: Mapping[str, str]) -> str:
    """Each letter, or a character in its place; a letter may also be repeated, which `plain` shortens to three."""
    runs = ((_letter(char, others), len(list(run))) for char, run in groupby(word))
    return between.join(between.join([letter] * times) + _more(letter, times) for letter, times in runs)


def _letter(char: str, others: Mapping[str, str]) -> str:
    return f"[{regex.escape(char)}{others.get(char, '')}]"


def _more(letter: str, times: int) -> str:
    return {1: f"(?:{letter}{{2}})?", 2: f"{letter}?"}.get(times, "")
