"""Takes LoRA entries, gives lookup by any name people use for them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from sdxl_gateway.catalog.lora_folder.names import SUFFIX
from sdxl_gateway.catalog.lora_folder.scan import LoraEntry

DIFFUSERS_NAME = "pytorch_lora_weights"
Rows = dict[str, list[LoraEntry]]


class LoraLookup:
    """Frozen once made. Looked up in turn: the whole name, its last part, the name it was trained under."""

    def __init__(self, entries: Iterable[LoraEntry]) -> None:
        self._entries = sorted(entries, key=lambda entry: entry.name)
        self._by_name = _rows((entry.name, entry) for entry in self._entries)
        self._by_stem = _rows((name, entry) for entry in self._entries for name in _last_parts(entry.name))
        self._by_output = _rows((entry.metadata.get("ss_output_name", ""), entry) for entry in self._entries)

    def entries(self) -> list[LoraEntry]:
        """All of them, by name."""
        return list(self._entries)

    def find_exact(self, name: str) -> LoraEntry | None:
        """The entry with this whole name, whatever its case."""
        found = self._by_name.get(_key(name))
        return found[0] if found else None

    def find(self, name: str) -> list[LoraEntry]:
        """The entries the name may mean: one, none, or several that are equally near."""
        plain = unicodedata.normalize("NFC", name).removesuffix(SUFFIX)
        key = _key(plain)
        for rows in (self._by_name, self._by_stem, self._by_output):
            if found := rows.get(key) if key else None:
                exact = [entry for entry in found if plain in {entry.name, entry.name.rpartition("/")[2]}]
                return exact if len(exact) == 1 else list(found)
        return []


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
