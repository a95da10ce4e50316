"""Takes text that may be disguised by unusual characters, gives the plain lower-case letters that a reader sees."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

LOOKALIKES = {
    "a": "аαɑ",
    "b": "вьβƅ",
    "c": "сϲᴄ",
    "d": "ԁδժ",
    "e": "еэεҽ",
    "g": "ɡց",
    "h": "һнհΗ",
    "i": "іιɩ",
    "j": "јյ",
    "k": "кκ",
    "l": "ӏլ",
    "m": "мΜ",
    "n": "пηոΝ",
    "o": "оοσօ",
    "p": "рρք",
    "q": "ԛզ",
    "r": "гᴦ",
    "s": "ѕꜱ",
    "t": "тτ",
    "u": "цυս",
    "v": "ѵν",
    "w": "шԝωѡ",
    "x": "хχ",
    "y": "уүγΥ",
}
"""Letters of other scripts by the Latin letter they look like: the common ones of Unicode's confusables (TR39).
Capitals are listed if they look like another letter than their lower case."""
_SHAPES = {shape: letter for letter, shapes in LOOKALIKES.items() for shape in shapes}
_NAMED = re.compile(
    r"(?:LATIN (?:SMALL |CAPITAL )?LETTER (?:SMALL CAPITAL |DOTLESS |OPEN |SCRIPT |REVERSED )?"
    r"|REGIONAL INDICATOR SYMBOL LETTER |NEGATIVE (?:SQUARED|CIRCLED) LATIN CAPITAL LETTER )([A-Z])(?: WITH .+)?"
)
_INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0\u2800")
"""Fillers, and a blank, which Unicode classes as letters or symbols."""
_UNSEEN = frozenset({"Mn", "Me", "Cf", "Cc", "Co", "Cn"})
_RUN = re.compile(r"(.)\1{3,}", re.DOTALL)


def plain(text: str) -> str:
    """Without case, diacritics, font variants, invisible characters and other scripts' lookalikes of Latin letters.

    Runs of a character are shortened to three. The cost is linear in the length.
    """
    return _RUN.sub(r"\1\1\1", "".join(map(_plain, text)))


@lru_cache(2**14)
def _plain(char: str) -> str:
    if char.isspace():
        return char
    return _SHAPES.get(char) or "".join(map(_shape, unicodedata.normalize("NFKD", char)))


def _shape(char: str) -> str:
    """One character, or two for a capital whose lower case has two; "" for an invisible character."""
    if char in _INVISIBLE or unicodedata.category(char) in _UNSEEN:
        return ""
    small = char.casefold()
    named = _NAMED.fullmatch(unicodedata.name(char, ""))
    return _SHAPES.get(char) or _SHAPES.get(small) or (named[1].lower() if named else small)
