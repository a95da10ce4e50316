"""Takes what is to be compiled, has a separate process write the code to a file, at low CPU priority and with next to
no device memory.

A compilation on a thread would hold the step loop's interpreter for a minute or two. A process does not, and leaves
code that loads in a moment. It computes nothing, so its copy of the model has no weights.
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
from sdxl_gateway.engine.unet.target import CompileTarget, pickled

log = logging.getLogger(__name__)

MODULE = "sdxl_gateway.engine.compiler_main"
MOST_SECONDS = 1800.0
MOST_WORKERS = 8
DEVICE_BYTES = 2**30
"""Must be free on the device for a compiler process to start: its CUDA context alone takes half of that."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the process is to compile, and where to; `threads` and `sums_in_half` are those of the engine's process."""

    target: bytes
    path: Path
    backend: Backend
    device: str
    threads: int
    sums_in_half: bool
    parent: int


class CompilerProcess:
    """Runs one compiler process at a time; `close` kills it, and it never outlives this process."""

    def __init__(self, backend: Backend, command: tuple[str, ...] = (sys.executable, "-m", MODULE)) -> None:
        self._backend = backend
        self._command = command
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def make(self, target: CompileTarget, path: Path) -> bool:
        """Whether the file was made; not if the device is too full for a second process, or the process fails."""
        device = target.inputs[0].device
        if not _has_room(device):
            log.info("the device has no memory for a compiler process; the engine's own compiles")
            return False
        try:
            order = _order(target, path, self._backend, device)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            log.warning("this model cannot be sent to a compiler process; the engine's own compiles: %s", error)
            return False
        return self._run(order)

    def close(self) -> None:
        """Kill a running process, and start none any more."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                _end(self._process)

    def _run(self, order: bytes) -> bool:
        process = self._start()
        if process is None:
            return False
        try:
            _, stderr = process.communicate(order, timeout=MOST_SECONDS)
        except subprocess.TimeoutExpired:
            _end(process)
            _, stderr = process.communicate()
        with self._lock:
            self._process = None
        if process.returncode and not self._closed:
            log.warning("the compiler process failed (%d): %s", process.returncode, _last_line(stderr))
        return process.returncode == 0

    def _start(self) -> subprocess.Popen[bytes] | None:
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


def _order(target: CompileTarget, path: Path, backend: Backend, device: torch.device) -> bytes:
    sums_in_half = device.type == "cuda" and bool(torch.backends.cuda.matmul.allow_fp16_accumulation)
    data, threads = pickled(target), torch.get_num_threads()
    return pickle.dumps(Order(data, path, backend, str(device), threads, sums_in_half, os.getpid()))


def _has_room(device: torch.device) -> bool:
    return device.type != "cuda" or torch.cuda.mem_get_info(device)[0] >= DEVICE_BYTES


def _workers() -> int:
    """All processors but one, which is left to the steps."""
    return max(min(processors() - 1, MOST_WORKERS), 1)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _last_line(stderr: bytes) -> str:
    return (stderr.decode(errors="replace").strip().splitlines() or ["no output on stderr"])[-1]
