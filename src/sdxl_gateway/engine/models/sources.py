"""Takes an engine process's settings, gives where each checkpoint lies: those configured, and those of the folder.

What lies in the folder is looked up when a recipe names it, and is the one that was meant when it has the recipe's
digest: nobody has to tell the engine what came and went.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from sdxl_gateway.catalog.checkpoint_folder.scan import open_named
from sdxl_gateway.catalog.checkpoint_folder.versions import name_and_digest, versioned
from sdxl_gateway.config import Checkpoint, EngineProcess
from sdxl_gateway.core.errors import CheckpointProblem, ModelNotFound, Unavailable
from sdxl_gateway.core.recipe import Phase
from sdxl_gateway.core.text import shown
from sdxl_gateway.engine.models.checkpoint import Source

OpenSource = Callable[[str, Checkpoint], Source]


class Sources:
    """Checkpoints by what the engine calls them: a configured one by its name, one of the folder by its version."""

    def __init__(self, config: EngineProcess, open_source: OpenSource) -> None:
        self._folder = config.checkpoint_folder.directory
        self._open = open_source
        self._configured = {name: open_source(name, section) for name, section in config.checkpoints.items()}

    @property
    def configured(self) -> tuple[str, ...]:
        """The names of those that stand in the settings."""
        return tuple(self._configured)

    def name_of(self, phase: Phase) -> str:
        """What the engine calls the checkpoint that takes these steps."""
        if phase.checkpoint in self._configured:
            return phase.checkpoint
        return versioned(phase.checkpoint, phase.checkpoint_digest)

    def names_of(self, phases: Iterable[Phase]) -> list[str]:
        """As `name_of`, each once."""
        return list(dict.fromkeys(map(self.name_of, phases)))

    def of(self, name: str) -> Source:
        """Where the checkpoint lies.

        Raises ModelNotFound, and Unavailable where the folder has another one under that name by now.
        """
        return self._configured[name] if name in self._configured else self._in_folder(*name_and_digest(name))

    def _in_folder(self, name: str, digest: str) -> Source:
        try:
            entry = open_named(self._folder, name)
        except (CheckpointProblem, OSError):
            raise _changed(name) from None
        if entry.digest != digest:
            raise _changed(name)
        return self._open(versioned(name, digest), entry.section)

    def first(self, in_folder: str | None) -> Source:
        """The one an engine begins with: that of the folder, or the first configured where it cannot be used.

        Raises CheckpointProblem.
        """
        if in_folder is not None:
            with suppress(ModelNotFound, CheckpointProblem):
                entry = open_named(self._folder, in_folder)
                return self._open(versioned(entry.name, entry.digest), entry.section)
        if not self._configured:
            raise CheckpointProblem("No checkpoint is configured.")
        return next(iter(self._configured.values()))

    def all_configured(self) -> Iterable[Source]:
        """Those that stand in the settings."""
        return self._configured.values()


def _changed(name: str) -> Unavailable:
    return Unavailable(f"The checkpoint {shown(name)} was changed meanwhile; ask again.")
