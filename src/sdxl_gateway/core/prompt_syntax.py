"""Parses the weights of a prompt's words, and the parts that are encoded separately.

The grammar is that of A1111, with `(red)`, `(red:1.3)`, `[less]`, `\\(` and `BREAK`; the code is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

PLAIN, A1111 = "plain", "a1111"
SYNTAXES = (PLAIN, A1111)

MORE = 1.1
"""The factor of a bracket without a number; square brackets divide by it."""
MOST_WEIGHT = 10.0

_TOKEN = re.compile(
    r"\\(?P<escaped>[()\[\]\\]?)"
    r"|:\s*+(?P<number>[+-]?(?:\d++\.?\d*+|\.\d++))\s*+(?P<end>[)\]])"
    r"|(?P<bracket>[()\[\]])"
    r"|(?P<text>[:|]|[^\\()\[\]:|]++)"
)
_BREAK = re.compile(r"\bBREAK\b")
_AND = re.compile(r"\bAND\b")
_SPECIAL = re.compile(r"[()\[\]\\]")


class PromptSyntaxError(ValueError):
    """Syntax of A1111 that this server does not support; the text is for the caller."""


class Segment(NamedTuple):
    """Text whose tokens all have the same weight."""

    text: str
    weight: float = 1.0


Part = tuple[Segment, ...]
"""The text between two BREAKs."""


def read_prompt(text: str, syntax: str) -> tuple[Part, ...]:
    """At least one part, whose adjacent segments differ in weight. Takes linear time.

    Raises PromptSyntaxError, in A1111's syntax only.
    """
    if syntax == PLAIN:
        return ((Segment(text),),)
    if _AND.search(text):
        raise PromptSyntaxError("'AND' would paint several prompts into one picture, which is not supported")
    scan = _Scan()
    for match in _TOKEN.finditer(text):
        scan.read(match)
    return _parts(scan.found)


def escaped(text: str) -> str:
    """Text in A1111's syntax that stands for these characters, at the weight of its surroundings."""
    return _SPECIAL.sub(r"\\\g<0>", text)


@dataclass(slots=True)
class _Open:
    """An open bracket and its factor; one that is never closed extends to the end of the prompt."""

    kind: str
    factor: float


@dataclass(frozen=True, slots=True)
class _Close:
    kind: str


class _Break:
    pass


_Found = str | _Open | _Close | _Break


@dataclass(slots=True)
class _Scan:
    """The state of the parser: what was read, the open brackets of each kind, and how many `|` were in square ones."""

    found: list[_Found] = field(default_factory=list)
    opened: dict[str, list[_Open]] = field(default_factory=lambda: {"(": [], "[": []})
    bars: list[int] = field(default_factory=list)

    def read(self, token: re.Match[str]) -> None:
        match token.lastgroup:
            case "escaped":
                self.found.append(token["escaped"])
            case "bracket":
                self._bracket(token["bracket"])
            case "text":
                self._text(token["text"])
            case _:
                self._end_with_number(token)

    def _text(self, text: str) -> None:
        if text == "|" and self.bars:
            self.bars[-1] += 1
        self.found.append(text)
        if "BREAK" in text:
            self.found[-1:] = _broken(text)

    def _bracket(self, bracket: str) -> None:
        if bracket in self.opened:
            opened = _Open(bracket, MORE if bracket == "(" else 1 / MORE)
            self.opened[bracket].append(opened)
            self.found.append(opened)
            self.bars += [0] if bracket == "[" else []
        elif bracket == ")":
            self._close("(", bracket)
        else:
            self._close_square(bracket)

    def _close_square(self, bracket: str) -> None:
        if self.bars and self.bars.pop():
            raise PromptSyntaxError("'[a|b]' would alternate between words from step to step, which is not supported")
        self._close("[", bracket)

    def _close(self, kind: str, text: str, factor: float | None = None) -> None:
        """Close a bracket; `text` is its source, which is plain text if no bracket is open."""
        if not self.opened[kind]:
            self.found.append(text)
            return
        opened = self.opened[kind].pop()
        opened.factor = opened.factor if factor is None else factor
        self.found.append(_Close(kind))

    def _end_with_number(self, token: re.Match[str]) -> None:
        if token["end"] == ")":
            self._close("(", token[0], float(token["number"]))
        elif self.opened["["]:
            raise PromptSyntaxError("'[a:b:0.5]' would change the words amid the steps, which is not supported")
        else:
            self.found.append(token[0])


def _broken(text: str) -> list[_Found]:
    first, *others = _BREAK.split(text)
    return [first, *chain.from_iterable((_Break(), other) for other in others)]


def _parts(found: list[_Found]) -> tuple[Part, ...]:
    parts: list[list[tuple[list[str], float]]] = [[]]
    for item, weight in _weighted(found):
        if isinstance(item, _Break):
            parts.append([])
        elif item and parts[-1] and parts[-1][-1][1] == weight:
            parts[-1][-1][0].append(item)
        elif item:
            parts[-1].append(([item], weight))
    return tuple(tuple(Segment("".join(texts), weight) for texts, weight in part) for part in parts)


def _weighted(found: list[_Found]) -> Iterator[tuple[str | _Break, float]]:
    """Text and BREAKs with the product of the factors around them; round and square brackets need not nest."""
    products = {"(": 1.0, "[": 1.0}
    outer: dict[str, list[float]] = {"(": [], "[": []}
    for item in found:
        if isinstance(item, _Open):
            outer[item.kind].append(products[item.kind])
            products[item.kind] *= item.factor
        elif isinstance(item, _Close):
            products[item.kind] = outer[item.kind].pop()
        else:
            yield item, _checked(products["("] * products["["])


def _checked(weight: float) -> float:
    if not abs(weight) <= MOST_WEIGHT:
        raise PromptSyntaxError(f"a weight is beyond {MOST_WEIGHT:g} where brackets around brackets multiply")
    return weight
