"""Takes an order on its standard input; is a compiler's process until that file is made, or its parent ends."""

from __future__ import annotations

import ctypes
import fcntl
import os
import pickle
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from sdxl_gateway.engine.device import be_current, sum_in_half
from sdxl_gateway.engine.unet.compiled import compile_ahead
from sdxl_gateway.engine.unet.compiler_process import Order
from sdxl_gateway.engine.unet.wanted import hollow

NICENESS = 15
FIRST_TO_GO = 1000
"""When the machine runs out of memory, before the engine is."""
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """The process's exit status."""
    # Bytes of the engine that started this process.
    order: Order = pickle.load(sys.stdin.buffer)  # noqa: S301
    _harden_process(order.parent)
    with _alone(order.path):
        if not order.path.exists():
            _fill(order)
    return 0


@torch.inference_mode()
def _fill(order: Order) -> None:
    device = torch.device(order.device)
    torch.set_num_threads(order.threads)
    be_current(device)
    sum_in_half(device, order.sums_in_half)
    wanted = hollow(order.outline)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    compile_ahead(wanted, order.backend, order.path)


def _harden_process(parent: int) -> None:
    """Never in the way of the engine's processors and memory, and never outlives it."""
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(FIRST_TO_GO), "ascii")
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Of several engines' compilers one makes a file, the others find it made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        # Where the disk knows no locks, each makes it for itself.
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # Its workers wait for more; nothing is left to save.
    os._exit(status)
