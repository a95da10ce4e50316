"""Takes an engine process's settings, gives where each checkpoint lies: those configured, and those of the folder.

What lies in the folder is looked up when a recipe names it, and is the one that was meant when it has the recipe's
digest; so is what took the place of a configured one, and what came from elsewhere: nobody has to tell the engine what
came and went.
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
    """Checkpoints by what the engine calls them.

    A configured one is called by its name, as it was when the engine began; what took its place, and one of the folder,
    by its version.
    """

    def __init__(self, config: EngineProcess, open_source: OpenSource) -> None:
        self._folder = config.checkpoint_folder.directory
        self._data_directory = config.data_directory
        self._open = open_source
        self._sections = config.checkpoints
        self._digests = {name: self._at_its_place(name).digest for name in self._sections}
        self._configured = {name: open_source(name, section) for name, section in self._sections.items()}
        self._names: dict[tuple[str, str], str] = {}

    @property
    def configured(self) -> tuple[str, ...]:
        """The names of those that stand in the settings."""
        return tuple(self._configured)

    def name_of(self, phase: Phase) -> str:
        """What the engine calls the checkpoint that takes these steps; always the same for the same ones."""
        meant = phase.checkpoint, phase.checkpoint_digest
        if meant not in self._names:
            self._names[meant] = phase.checkpoint if self._is_first(*meant) else versioned(*meant)
        return self._names[meant]

    def _is_first(self, name: str, digest: str) -> bool:
        """It is a configured one as it was when the engine began, and there was no other since."""
        return name in self._configured and (digest == self._digests[name] or self._stays(name))

    def _stays(self, name: str) -> bool:
        try:
            return self._at_its_place(name).digest == self._digests[name]
        except (CheckpointProblem, OSError):
            return False

    def _at_its_place(self, name: str) -> CheckpointEntry:
        """What lies where the settings say. Raises CheckpointProblem."""
        return open_checkpoint(name, self._sections[name], DEMO_MODEL)

    def version_of(self, name: str) -> str:
        """Of what the engine calls so."""
        return versioned(name, self._digests[name]) if name in self._configured else name

    def names_of(self, phases: Iterable[Phase]) -> list[str]:
        """As `name_of`, each once."""
        return list(dict.fromkeys(map(self.name_of, phases)))

    def of(self, name: str) -> Source:
        """Where the checkpoint lies.

        Raises ModelNotFound, and Unavailable where another one has that name by now.
        """
        if name not in self._configured:
            return self._of_version(*name_and_digest(name))
        if not self._stays(name):
            raise _changed(name)
        return self._configured[name]

    def _of_version(self, name: str, digest: str) -> Source:
        entry = self._stored(name, digest) or self._lying(name)
        if entry.digest != digest:
            raise _changed(name)
        return self._open(versioned(name, digest), entry.section)

    def _stored(self, name: str, digest: str) -> CheckpointEntry | None:
        """This very content, where it came from elsewhere."""
        return next((entry for entry in open_stored(self._data_directory, name) if entry.digest == digest), None)

    def _lying(self, name: str) -> CheckpointEntry:
        try:
            return self._at_its_place(name) if name in self._configured else open_named(self._folder, name)
        except (CheckpointProblem, OSError):
            raise _changed(name) from None

    def first(self, in_folder: str | None) -> Source:
        """The one an engine begins with: that of the folder, or the first configured where it cannot be used.

        Raises CheckpointProblem.
        """
        if in_folder is not None:
            for entry in self._named(in_folder):
                return self._open(versioned(entry.name, entry.digest), entry.section)
        if not self._configured:
            raise CheckpointProblem("No checkpoint is configured.")
        return next(iter(self._configured.values()))

    def _named(self, name: str) -> Iterator[CheckpointEntry]:
        """What can be used of that name: the folder's, and what came from elsewhere."""
        with suppress(ModelNotFound, CheckpointProblem):
            yield open_named(self._folder, name)
        yield from open_stored(self._data_directory, name)

    def all_configured(self) -> Iterable[Source]:
        """Those that stand in the settings."""
        return self._configured.values()


def _changed(name: str) -> Unavailable:
    return Unavailable(f"The checkpoint {shown(name)} was changed meanwhile; ask again.")
