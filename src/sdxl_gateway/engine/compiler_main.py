"""The compiler process: takes an Order on standard input, compiles the file it asks for; it ends with its parent."""

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
from sdxl_gateway.engine.unet.target import unpickled

NICENESS = 15
FIRST_TO_GO = 1000
"""An oom_score_adj: when the machine runs out of memory, this process is killed before the engine."""
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """The process's exit status."""
    # Safe to unpickle: the bytes come from the engine that started this process.
    order: Order = pickle.load(sys.stdin.buffer)  # noqa: S301
    _harden_process(order.parent)
    with _locked(order.path):
        if not order.path.exists():
            _compile(order)
    return 0


@torch.inference_mode()
def _compile(order: Order) -> None:
    device = torch.device(order.device)
    torch.set_num_threads(order.threads)
    be_current(device)
    sum_in_half(device, order.sums_in_half)
    target = unpickled(order.target)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    compile_ahead(target, order.backend, order.path)


def _harden_process(parent: int) -> None:
    """Yield CPU time and memory to the engine, and never outlive it."""
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(FIRST_TO_GO), "ascii")
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Of several engines' compilers one makes the file, while the others wait and then find it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        # On a file system without locks each makes it for itself.
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # torch's compile workers still wait for work and would delay a normal exit; nothing is left to save.
    os._exit(status)
