"""Looks up LoRAs by any of the names that people use for them."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence

from sdxl_gateway.catalog.lora_folder.names import without_suffix, without_weight
from sdxl_gateway.catalog.lora_folder.scan import LoraEntry, Problem
from sdxl_gateway.catalog.model_grammar import not_found
from sdxl_gateway.core.errors import ModelNotFound
from sdxl_gateway.core.text import shown

MAX_NAMES_COMPARED = 1000
"""The nearest name is only searched for in lists up to this length, as each is compared letter by letter."""
DIFFUSERS_NAME = "pytorch_lora_weights"
UNUSABLE = "invalid_lora"
Rows = dict[str, list[LoraEntry]]


class LoraLookup:
    """Immutable. `find` looks for the whole name, then its last part; `find_trained` for the name in the metadata."""

    def __init__(self, entries: Iterable[LoraEntry]) -> None:
        self._entries = sorted(entries, key=lambda entry: entry.name)
        self._by_name = _rows((entry.name, entry) for entry in self._entries)
        self._by_stem = _rows((name, entry) for entry in self._entries for name in _last_parts(entry.name))
        self._by_output = _rows((entry.metadata.get("ss_output_name", ""), entry) for entry in self._entries)

    def entries(self) -> list[LoraEntry]:
        """All entries, by name."""
        return list(self._entries)

    def only(self, sees: Callable[[str], bool]) -> LoraLookup:
        """A lookup of only those whose names pass."""
        return LoraLookup(entry for entry in self._entries if sees(entry.name))

    def find_exact(self, name: str) -> LoraEntry | None:
        """The entry with this whole name, not case-sensitive."""
        found = self._by_name.get(_key(name))
        return found[0] if found else None

    def find(self, name: str) -> list[LoraEntry]:
        """The entries that the name may mean: one, none, or several that match equally well."""
        plain = without_suffix(unicodedata.normalize("NFC", name))
        found = self._by_name.get(_key(plain)) or self._by_stem.get(_key(plain), [])
        exact = [entry for entry in found if plain in {entry.name, entry.name.rpartition("/")[2]}]
        return exact if len(exact) == 1 else list(found)

    def find_trained(self, name: str) -> list[LoraEntry]:
        """The entries whose trainer gave them this name, whatever their files are called now."""
        key = _key(without_suffix(unicodedata.normalize("NFC", name)))
        return list(self._by_output.get(key, ())) if key else []


class ProblemLookup:
    """Why files cannot be used, by the names of their LoRAs: callers who ask for one are told, instead of a 404."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self._whole: dict[str, Problem] = {}
        self._parts: dict[str, Problem] = {}
        self._unspeakable: dict[str, Problem] = {}
        for problem in problems:
            if problem.code == UNUSABLE:
                self._add(problem)

    def _add(self, problem: Problem) -> None:
        plain = without_weight(problem.name)
        for name in (problem.name, problem.file):
            self._whole.setdefault(_key(name), problem)
        for name in (problem.name, problem.file, plain):
            self._parts.setdefault(_key(name.rpartition("/")[2]), problem)
        self._parts.setdefault(_key(plain), problem)
        if "+" in problem.name:
            self._unspeakable.setdefault(_key(problem.name), problem)
            self._unspeakable.setdefault(_key(problem.name.rpartition("/")[2]), problem)

    def whole(self, name: str) -> Problem | None:
        """The file that would have this whole name."""
        return self._whole.get(_key(name))

    def part(self, name: str) -> Problem | None:
        """The file whose last part of the name this is, or whose name continues with what looks like a weight."""
        return self._parts.get(_key(without_suffix(name)))

    def within(self, model: str) -> Problem | None:
        """The file whose name contains a "+", and is part of this name of a model."""
        asked = f"+{_key(model)}+"
        found = self._unspeakable.items()
        return next((problem for name, problem in found if f"+{name}+" in asked or f"+{name}:" in asked), None)


def no_such(name: str, found: Sequence[LoraEntry], listed: Sequence[LoraEntry]) -> ModelNotFound:
    """The error for a name that is ambiguous among `found`, or matches none of `listed`."""
    if found:
        choices = " or ".join(f"'{entry.name}'" for entry in found[:3])
        return ModelNotFound(f"The LoRA {shown(name)} could be {choices}.", ambiguous=True)
    names = [entry.name for entry in listed] if len(listed) <= MAX_NAMES_COMPARED else []
    return not_found(name, names, kind="LoRA")


def _last_parts(name: str) -> list[str]:
    """A LoRA's name without its folders; for a file with diffusers' default name also that of its folder."""
    folder, _, last = name.rpartition("/")
    return [last, folder.rpartition("/")[2]] if folder and last == DIFFUSERS_NAME else [last]


def _rows(pairs: Iterable[tuple[str, LoraEntry]]) -> Rows:
    rows: Rows = {}
    for name, entry in pairs:
        rows.setdefault(_key(name), []).append(entry)
    return rows


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
