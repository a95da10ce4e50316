"""The catalogue of embeddings: finds the words that can be used in prompts, and checks and copies their files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.embedding_folder.embedding_file import CAPS, check_fits, check_fits_any
from sdxl_gateway.catalog.lora_folder.checks import LATELY_SECONDS
from sdxl_gateway.catalog.lora_folder.copies import keep_copy, store_path
from sdxl_gateway.catalog.lora_folder.folder_log import FolderLog
from sdxl_gateway.catalog.lora_folder.marks import Mark, mark_of
from sdxl_gateway.catalog.lora_folder.names import shown_name
from sdxl_gateway.catalog.lora_folder.scan import Problem, check_inside
from sdxl_gateway.catalog.lora_folder.walk import Candidate, candidates
from sdxl_gateway.catalog.lora_folder.watch import changes
from sdxl_gateway.catalog.safetensors_header import Header, read_header
from sdxl_gateway.config import Embeddings
from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.core.words import is_in

MAX_WORD_CHARS = 100
NOT_OPENED = "Files that end in {} are never opened, as they may run code; save the embedding as .safetensors."


@dataclass(frozen=True, slots=True)
class Embedding:
    """A word and the file that teaches it; if it has a `problem`, it cannot be used."""

    word: str
    place: str
    path: Path
    mark: Mark
    header: Header | None
    problem: str | None = None


class EmbeddingCatalog:
    """The embeddings in one folder, by word: the file's name without extension and folders.

    Empty before the first `scan`. Words are not case-sensitive.
    """

    def __init__(self, settings: Embeddings, data_directory: Path, checkpoints: Iterable[CheckpointEntry] = ()) -> None:
        self._root = settings.directory
        self._data_directory = data_directory
        self._checkpoints = checkpoints
        self._seen: Mapping[str, Embedding] = {}
        self._by_word: Mapping[str, Embedding] = {}
        self._copies: dict[str, tuple[Mark, str]] = {}
        self._given: dict[str, float] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Every file in the folder that cannot be used, and why."""
        return tuple(
            Problem(shown_name(one.word), one.problem, shown_name(one.place), "invalid_embedding")
            for one in self._seen.values()
            if one.problem is not None
        )

    def words(self, checkpoint: CheckpointEntry) -> list[str]:
        """The words that a prompt to this checkpoint may use."""
        return sorted(one.word for one in self._by_word.values() if why_not(one, checkpoint) is None)

    def named_in(self, texts: Iterable[str]) -> list[Embedding]:
        """The embeddings whose words occur in the texts, usable or not, sorted by word."""
        read = [*texts]
        found = (one for word, one in self._by_word.items() if any(is_in(word, text) for text in read))
        return sorted(found, key=lambda one: one.word.lower())

    def scan(self) -> None:
        """Read the folder again, except for files that did not change."""
        self._publish(self._scanned())

    async def watch(self) -> None:
        """Scan at every change in the folder; runs until cancelled."""
        log = FolderLog("embedding folder")
        await self._look_again(log)
        async for _ in changes(self._root, lambda: bool(self.problems), "embedding folder"):
            await self._look_again(log)

    async def _look_again(self, log: FolderLog) -> None:
        self._publish(await asyncio.to_thread(self._scanned))
        usable = {shown_name(one.word): one.mark for one in self._by_word.values() if one.problem is None}
        log.tell(usable, self.problems)

    def _scanned(self) -> dict[str, Embedding]:
        return {one.place: self._look(one) for one in sorted(candidates(self._root))}

    def _publish(self, seen: Mapping[str, Embedding]) -> None:
        """If several files have the same word, the first one counts, and usable ones before others."""
        by_word: dict[str, Embedding] = {}
        for one in sorted(seen.values(), key=lambda one: (one.problem is not None, one.place)):
            by_word.setdefault(one.word.lower(), one)
        doubled = {
            place: _broken(one, "Another embedding teaches the same word; rename one of them.")
            for place, one in seen.items()
            if one.problem is None and by_word[one.word.lower()] is not one
        }
        self._seen, self._by_word = {**seen, **doubled}, by_word

    def _look(self, found: Candidate) -> Embedding:
        word = found.name.rpartition("/")[2]
        try:
            mark = mark_of(found.path.stat())
        except OSError:
            return Embedding(word, found.place, found.path, (0, 0, 0), None, "The file cannot be read.")
        before = self._seen.get(found.place)
        if before is not None and before.mark == mark and before.problem is None:
            return before
        try:
            return Embedding(word, found.place, found.path, mark, self._header(found, word))
        except AdapterRefused as refused:
            return Embedding(word, found.place, found.path, mark, None, refused.message)

    def _header(self, found: Candidate, word: str) -> Header:
        if found.is_folder or not found.is_lora:
            raise AdapterRefused(NOT_OPENED.format(found.path.suffix) if not found.is_folder else "This is a LoRA.")
        if not (word.isprintable() and word.strip() == word and 0 < len(word) <= MAX_WORD_CHARS):
            raise AdapterRefused("The file's name is no word that could stand in a prompt; rename it.")
        if found.linked:
            check_inside(self._root, found.path)
        header = read_header(found.path, CAPS)
        check_fits_any(word, header, (checkpoint.shapes for checkpoint in self._checkpoints))
        return header

    async def check_in(self, embedding: Embedding) -> str:
        """The sha256 of the file's copy in the store of copies, which is made if necessary. Raises AdapterRefused."""
        digest = await asyncio.to_thread(self._checked_in, embedding)
        self._given[digest] = time.monotonic()
        return digest

    def _checked_in(self, embedding: Embedding) -> str:
        mark, digest = self._copies.get(embedding.place, (None, ""))
        if mark == embedding.mark and store_path(self._data_directory, digest).exists():
            return digest
        check_inside(self._root, embedding.path)
        digest = keep_copy(embedding.path.resolve(), self._data_directory, CAPS)
        copied = read_header(store_path(self._data_directory, digest), CAPS)
        if embedding.header is None or copied.tensors != embedding.header.tensors:
            raise AdapterRefused("The file changed while it was being read; try again.")
        self._copies[embedding.place] = (embedding.mark, digest)
        return digest

    @property
    def lately_checked_in(self) -> frozenset[str]:
        """The digests of those checked in lately, which jobs may be about to use."""
        now = time.monotonic()
        self._given = {digest: at for digest, at in self._given.items() if now - at < LATELY_SECONDS}
        return frozenset(self._given)


def why_not(embedding: Embedding, checkpoint: CheckpointEntry) -> str | None:
    """Why the embedding cannot be used with the checkpoint; None if it can."""
    if embedding.header is None:
        return embedding.problem
    try:
        check_fits(embedding.word, embedding.header, checkpoint.shapes)
    except AdapterRefused as refused:
        return refused.message
    return None


def _broken(embedding: Embedding, problem: str) -> Embedding:
    return Embedding(embedding.word, embedding.place, embedding.path, embedding.mark, None, problem)
