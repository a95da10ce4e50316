"""Takes measurements of this machine, keeps them in a file for later starts; an unusable file counts as missing."""

from __future__ import annotations

import fcntl
import json
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sdxl_gateway.core.files import write_whole

log = logging.getLogger(__name__)

FILE_NAME = "measured.json"
LOCK_NAME = "measured.lock"


@dataclass(frozen=True, slots=True)
class Findings:
    """Figures in a JSON file in `folder`, each keyed by a text that names everything it depends on."""

    folder: Path

    def of(self, about: str, measure: Callable[[], float]) -> float:
        """The figure kept under `about`, else the one measured now, which is kept if the file can be written.

        Of several processes one measures while the others wait, so that all use the same figure.
        """
        with self._locked():
            kept = self._read()
            if about not in kept:
                kept[about] = measure()
                self._write(kept)
            return kept[about]

    @property
    def _path(self) -> Path:
        return self.folder / FILE_NAME

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with ExitStack() as stack:
            # On a file system without locks each process measures for itself.
            with suppress(OSError):
                self.folder.mkdir(parents=True, exist_ok=True)
                fcntl.flock(stack.enter_context((self.folder / LOCK_NAME).open("w")), fcntl.LOCK_EX)
            yield

    def _read(self) -> dict[str, float]:
        try:
            read = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        figures = read.items() if isinstance(read, dict) else ()
        return {about: figure for about, figure in figures if _is_figure(figure)}

    def _write(self, kept: dict[str, float]) -> None:
        try:
            write_whole(self._path, [json.dumps(kept, indent=2).encode()])
        except OSError as error:
            log.warning("%s cannot be written, so the next start measures again: %s", self._path, error.strerror)


def _is_figure(value: object) -> bool:
    return type(value) in (int, float) and 0 < float(str(value)) < math.inf
