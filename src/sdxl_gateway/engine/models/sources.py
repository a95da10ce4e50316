"""Takes an engine process's settings, finds checkpoints on disk: configured ones, and those of the checkpoint folder.

A checkpoint of the folder is looked up when a recipe names it, and used if it has the recipe's digest. So are files
that replaced a configured one, and checkpoints fetched from a bucket: the engine needs no notice of changes on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from sdxl_gateway.catalog.checkpoint_folder.scan import open_named
from sdxl_gateway.catalog.checkpoint_folder.stored import open_stored
from sdxl_gateway.catalog.checkpoint_folder.versions import name_and_digest, versioned
from sdxl_gateway.catalog.checkpoints import CheckpointEntry, open_checkpoint
from sdxl_gateway.config import DEMO_MODEL, Checkpoint, EngineProcess
from sdxl_gateway.core.errors import CheckpointProblem, ModelNotFound, Unavailable
from sdxl_gateway.core.recipe import Phase
from sdxl_gateway.core.text import shown
from sdxl_gateway.engine.models.checkpoint import Source

OpenSource = Callable[[str, Checkpoint], Source]


class Sources:
    """Checkpoints by the engine's names for them.

    A configured one has its configured name, while it is what it was at the engine's start; one that replaced it, and
    one of the folder, is called by its version.
    """

    def __init__(self, config: EngineProcess, open_source: OpenSource) -> None:
        self._folder = config.checkpoint_folder.directory
        self._data_directory = config.data_directory
        self._open = open_source
        self._sections = config.checkpoints
        self._digests = {name: self._entry_at_path(name).digest for name in self._sections}
        self._configured = {name: open_source(name, section) for name, section in self._sections.items()}
        self._names: dict[tuple[str, str], str] = {}

    @property
    def configured(self) -> tuple[str, ...]:
        """The names of those in the settings."""
        return tuple(self._configured)

    def name_of(self, phase: Phase) -> str:
        """The engine's name for the phase's checkpoint; once decided, it never changes."""
        key = phase.checkpoint, phase.checkpoint_digest
        if key not in self._names:
            self._names[key] = phase.checkpoint if self._is_original(*key) else versioned(*key)
        return self._names[key]

    def _is_original(self, name: str, digest: str) -> bool:
        """It is a configured one as it was at the engine's start, or the files there have not changed since."""
        return name in self._configured and (digest == self._digests[name] or self._unchanged(name))

    def _unchanged(self, name: str) -> bool:
        try:
            return self._entry_at_path(name).digest == self._digests[name]
        except (CheckpointProblem, OSError):
            return False

    def _entry_at_path(self, name: str) -> CheckpointEntry:
        """What is at the configured path now. Raises CheckpointProblem."""
        return open_checkpoint(name, self._sections[name], DEMO_MODEL)

    def version_of(self, name: str) -> str:
        """The version (name and digest) of a checkpoint by the engine's name."""
        return versioned(name, self._digests[name]) if name in self._configured else name

    def names_of(self, phases: Iterable[Phase]) -> list[str]:
        """As `name_of`, each once."""
        return list(dict.fromkeys(map(self.name_of, phases)))

    def of(self, name: str) -> Source:
        """Where the checkpoint is on disk.

        Raises ModelNotFound, and Unavailable if another one has that name by now.
        """
        if name not in self._configured:
            return self._of_version(*name_and_digest(name))
        if not self._unchanged(name):
            raise _changed(name)
        return self._configured[name]

    def _of_version(self, name: str, digest: str) -> Source:
        entry = self._stored(name, digest) or self._entry_now(name)
        if entry.digest != digest:
            raise _changed(name)
        return self._open(versioned(name, digest), entry.section)

    def _stored(self, name: str, digest: str) -> CheckpointEntry | None:
        """The checkpoint with exactly that content, if it was fetched from a bucket."""
        return next((entry for entry in open_stored(self._data_directory, name) if entry.digest == digest), None)

    def _entry_now(self, name: str) -> CheckpointEntry:
        try:
            return self._entry_at_path(name) if name in self._configured else open_named(self._folder, name)
        except (CheckpointProblem, OSError):
            raise _changed(name) from None

    def first(self, in_folder: str | None) -> Source:
        """The checkpoint to start with: `in_folder`, or the first configured one if that cannot be used.

        Raises CheckpointProblem.
        """
        if in_folder is not None:
            for entry in self._named(in_folder):
                return self._open(versioned(entry.name, entry.digest), entry.section)
        if not self._configured:
            raise CheckpointProblem("No checkpoint is configured.")
        return next(iter(self._configured.values()))

    def _named(self, name: str) -> Iterator[CheckpointEntry]:
        """The usable checkpoints of that name: the folder's, then those fetched from a bucket."""
        with suppress(ModelNotFound, CheckpointProblem):
            yield open_named(self._folder, name)
        yield from open_stored(self._data_directory, name)

    def all_configured(self) -> Iterable[Source]:
        """Those in the settings."""
        return self._configured.values()


def _changed(name: str) -> Unavailable:
    return Unavailable(f"The checkpoint {shown(name)} was changed meanwhile; ask again.")
