"""Takes LoRA entries, gives lookup by any name people use for them."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence

from sdxl_gateway.catalog.lora_folder.names import without_suffix, without_weight
from sdxl_gateway.catalog.lora_folder.scan import LoraEntry, Problem
from sdxl_gateway.catalog.model_grammar import not_found
from sdxl_gateway.core.errors import ModelNotFound
from sdxl_gateway.core.text import shown

MAX_NAMES_COMPARED = 1000
"""Finding the nearest name compares each letter by letter: not for whole libraries."""
DIFFUSERS_NAME = "pytorch_lora_weights"
UNUSABLE = "invalid_lora"
Rows = dict[str, list[LoraEntry]]


class LoraLookup:
    """Frozen once made. Looked up by the whole name, then its last part; by itself the name it was trained under."""

    def __init__(self, entries: Iterable[LoraEntry]) -> None:
        self._entries = sorted(entries, key=lambda entry: entry.name)
        self._by_name = _rows((entry.name, entry) for entry in self._entries)
        self._by_stem = _rows((name, entry) for entry in self._entries for name in _last_parts(entry.name))
        self._by_output = _rows((entry.metadata.get("ss_output_name", ""), entry) for entry in self._entries)

    def entries(self) -> list[LoraEntry]:
        """All of them, by name."""
        return list(self._entries)

    def only(self, sees: Callable[[str], bool]) -> LoraLookup:
        """Of those whose names are seen."""
        return LoraLookup(entry for entry in self._entries if sees(entry.name))

    def find_exact(self, name: str) -> LoraEntry | None:
        """The entry with this whole name, whatever its case."""
        found = self._by_name.get(_key(name))
        return found[0] if found else None

    def find(self, name: str) -> list[LoraEntry]:
        """The entries the name may mean: one, none, or several that are equally near."""
        plain = without_suffix(unicodedata.normalize("NFC", name))
        found = self._by_name.get(_key(plain)) or self._by_stem.get(_key(plain), [])
        exact = [entry for entry in found if plain in {entry.name, entry.name.rpartition("/")[2]}]
        return exact if len(exact) == 1 else list(found)

    def find_trained(self, name: str) -> list[LoraEntry]:
        """Those whose trainer called them so, whatever their files are called since."""
        key = _key(without_suffix(unicodedata.normalize("NFC", name)))
        return list(self._by_output.get(key, ())) if key else []


class ProblemLookup:
    """Why a file cannot be used, by what its LoRA would be called: to who asks for one it is there, and no model."""

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
        """The file whose last part this is, or whose name goes on with what reads as a weight."""
        return self._parts.get(_key(without_suffix(name)))

    def within(self, model: str) -> Problem | None:
        """The file whose name, which holds a "+", stands in the name of a model."""
        asked = f"+{_key(model)}+"
        found = self._unspeakable.items()
        return next((problem for name, problem in found if f"+{name}+" in asked or f"+{name}:" in asked), None)


def no_such(name: str, found: Sequence[LoraEntry], listed: Sequence[LoraEntry]) -> ModelNotFound:
    """The refusal of a name that means several of those `found`, or none of all `listed`."""
    if found:
        choices = " or ".join(f"'{entry.name}'" for entry in found[:3])
        return ModelNotFound(f"The LoRA {shown(name)} could be {choices}.", ambiguous=True)
    names = [entry.name for entry in listed] if len(listed) <= MAX_NAMES_COMPARED else []
    return not_found(name, names, kind="LoRA")


def _last_parts(name: str) -> list[str]:
    """What a LoRA is called without its folders; one under diffusers' file name is called like its folder."""
    folder, _, last = name.rpartition("/")
    return [last, folder.rpartition("/")[2]] if folder and last == DIFFUSERS_NAME else [last]


def _rows(pairs: Iterable[tuple[str, LoraEntry]]) -> Rows:
    rows: Rows = {}
    for name, entry in pairs:
        rows.setdefault(_key(name), []).append(entry)
    return rows


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
