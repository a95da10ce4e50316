"""Takes what code is wanted for, has a process of its own make the file of it: with a Python of its own, few rights to
the processors, and next to none of the device's memory.

The step loop's Python is busy with a compilation on a thread of its process for a minute or two. A process leaves it
alone, and leaves code that loads in a moment. Nothing is computed in it, so the model has no weights there.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import torch

from sdxl_gateway.core.container import processors
from sdxl_gateway.engine.unet.compiled import Backend
from sdxl_gateway.engine.unet.wanted import Wanted, outlined

log = logging.getLogger(__name__)

MODULE = "sdxl_gateway.engine.compiler_main"
MOST_SECONDS = 1800.0
MOST_WORKERS = 8
DEVICE_BYTES = 2**30
"""Free on the device, or it is not begun: a CUDA context takes half of that, whatever is done in it."""


@dataclass(frozen=True, slots=True)
class Order:
    """Of one file. `threads` and `sums_in_half` are as in the process that is to call the code."""

    outline: bytes
    path: Path
    backend: Backend
    device: str
    threads: int
    sums_in_half: bool
    parent: int


class CompilerProcess:
    """One at a time. Who closes it while it works has it end at once; it never outlives this process."""

    def __init__(self, backend: Backend, command: tuple[str, ...] = (sys.executable, "-m", MODULE)) -> None:
        self._backend = backend
        self._command = command
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def make(self, wanted: Wanted, path: Path) -> bool:
        """Whether it did: not where the device is too full for a second process, nor where that fails."""
        device = wanted.inputs[0].device
        if not _has_room(device):
            log.info("the device has no room for a compiler's process; it is compiled in this one")
            return False
        try:
            order = _order(wanted, path, self._backend, device)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            log.warning("this model is compiled in the engine's own process: %s", error)
            return False
        return self._filled(order)

    def close(self) -> None:
        """Nothing is made any more."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                _end(self._process)

    def _filled(self, order: bytes) -> bool:
        process = self._begun()
        if process is None:
            return False
        try:
            _, told = process.communicate(order, timeout=MOST_SECONDS)
        except subprocess.TimeoutExpired:
            _end(process)
            _, told = process.communicate()
        with self._lock:
            self._process = None
        if process.returncode and not self._closed:
            log.warning("the compiler's process failed (%d): %s", process.returncode, _last_line(told))
        return process.returncode == 0

    def _begun(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if not self._closed:
                self._process = subprocess.Popen(  # noqa: S603
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    env=os.environ | {"TORCHINDUCTOR_COMPILE_THREADS": str(_workers())},
                    start_new_session=True,
                )
            return self._process


def _order(wanted: Wanted, path: Path, backend: Backend, device: torch.device) -> bytes:
    sums_in_half = device.type == "cuda" and bool(torch.backends.cuda.matmul.allow_fp16_accumulation)
    outline, threads = outlined(wanted), torch.get_num_threads()
    return pickle.dumps(Order(outline, path, backend, str(device), threads, sums_in_half, os.getpid()))


def _has_room(device: torch.device) -> bool:
    return device.type != "cuda" or torch.cuda.mem_get_info(device)[0] >= DEVICE_BYTES


def _workers() -> int:
    """One processor is left to the steps."""
    return max(min(processors() - 1, MOST_WORKERS), 1)


def _end(process: subprocess.Popen[bytes]) -> None:
    """With all it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _last_line(told: bytes) -> str:
    return (told.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
