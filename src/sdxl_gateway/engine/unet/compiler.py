"""Takes what is to be compiled, gives the code: from the cache, from a compiler process, or compiled in this one."""

from __future__ import annotations

import os
from pathlib import Path

from sdxl_gateway.engine.quiet import quiet
from sdxl_gateway.engine.unet.code_cache import CodeCache
from sdxl_gateway.engine.unet.compiled import Backend, compiled
from sdxl_gateway.engine.unet.compiler_process import CompilerProcess
from sdxl_gateway.engine.unet.target import Code, CompileTarget

FOLDER_NAME = "compiled"
CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
WHOLE_NAME = "whole"


class Closed(Exception):
    """The compiler was closed; no code is needed any more."""


class Compiler:
    """Gives code that has been called once. Code of a `backend` that is a function, not a name, is not cached."""

    def __init__(self, backend: Backend = "inductor") -> None:
        self._backend = backend
        self._process = CompilerProcess(backend)
        folder = code_folder()
        self._cache: CodeCache | None = None
        if folder is not None and isinstance(backend, str):
            self._cache = CodeCache(folder / backend, self._process.make)
        self._closed = False

    def code(self, target: CompileTarget) -> Code:
        """Raises what the compiler raises, and Closed."""
        found = None if self._cache is None else self._cache.code(target)
        if self._closed:
            raise Closed
        # The first call benchmarks kernels and loads modules, both of which synchronise the device.
        with quiet.disturbed():
            if found is None:
                return compiled(target, self._backend)
            target.run(found)
        return found

    def close(self) -> None:
        """End a compiler process that is running."""
        self._closed = True
        self._process.close()


def keep_compiled_code(data_directory: Path) -> None:
    """Cache compiled code in the data directory, for later starts, unless the environment names another folder."""
    os.environ.setdefault(CACHE_VARIABLE, str((data_directory / FOLDER_NAME).resolve()))


def code_folder() -> Path | None:
    """The folder of whole compiled functions, beside torch's own cache of their parts; None without a cache folder."""
    folder = os.environ.get(CACHE_VARIABLE)
    return Path(folder) / WHOLE_NAME if folder else None
