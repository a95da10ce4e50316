"""Takes what code is wanted for, gives it: as it was kept, from a process that compiles it, or compiled by this one."""

from __future__ import annotations

import os
from pathlib import Path

from sdxl_gateway.engine.quiet import quiet
from sdxl_gateway.engine.unet.compiled import Backend, compiled
from sdxl_gateway.engine.unet.compiler_process import CompilerProcess
from sdxl_gateway.engine.unet.kept import KeptCodes
from sdxl_gateway.engine.unet.wanted import Code, Wanted

FOLDER_NAME = "compiled"
PLACE = "TORCHINDUCTOR_CACHE_DIR"
WHOLE_NAME = "whole"


class Closed(Exception):
    """Nobody wants code any more."""


class Compiler:
    """Its code has been called once. A `backend` that is no name is this process's own, and nothing of it is kept."""

    def __init__(self, backend: Backend = "inductor") -> None:
        self._backend = backend
        self._process = CompilerProcess(backend)
        folder = code_folder()
        self._kept: KeptCodes | None = None
        if folder is not None and isinstance(backend, str):
            self._kept = KeptCodes(folder / backend, self._process.make)
        self._closed = False

    def code(self, wanted: Wanted) -> Code:
        """Raises what the compiler raises, and Closed."""
        found = None if self._kept is None else self._kept.code(wanted)
        if self._closed:
            raise Closed
        # Kernels are timed in their first call, and pieces of code come onto the device.
        with quiet.disturbed():
            if found is None:
                return compiled(wanted, self._backend)
            wanted.done_by(found)
        return found

    def close(self) -> None:
        """What another process is at is given up."""
        self._closed = True
        self._process.close()


def keep_compiled_code(data_directory: Path) -> None:
    """Code compiled once is found there at the next start, unless the environment names another place."""
    os.environ.setdefault(PLACE, str((data_directory / FOLDER_NAME).resolve()))


def code_folder() -> Path | None:
    """Where whole code lies, beside torch's own pieces of it; nowhere if nobody said where."""
    place = os.environ.get(PLACE)
    return Path(place) / WHOLE_NAME if place else None
