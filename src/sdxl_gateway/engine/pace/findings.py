"""Takes what was measured of this machine, gives it again at later starts; a file that cannot be used is as none."""

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
    """Figures in a JSON file of a folder, each under all that it depends on, in words."""

    folder: Path

    def of(self, about: str, measure: Callable[[], float]) -> float:
        """The figure found before, else the one found now, which is kept if the disk lets it.

        Of several processes one measures while the others wait for what it finds: all of them go by one figure.
        """
        with self._held():
            kept = self._read()
            if about not in kept:
                kept[about] = measure()
                self._write(kept)
            return kept[about]

    @property
    def _path(self) -> Path:
        return self.folder / FILE_NAME

    @contextmanager
    def _held(self) -> Iterator[None]:
        with ExitStack() as until:
            # Where the disk knows no locks, each measures for itself.
            with suppress(OSError):
                self.folder.mkdir(parents=True, exist_ok=True)
                fcntl.flock(until.enter_context((self.folder / LOCK_NAME).open("w")), fcntl.LOCK_EX)
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
