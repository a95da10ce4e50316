"""Takes nothing, gives facts about the device in words and numbers, without torch."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU as its driver tells it; `utilization_ratio` lies between 0 and 1."""

    index: int
    name: str
    memory_used_bytes: int
    memory_total_bytes: int
    utilization_ratio: float


def read_gpus() -> tuple[Gpu, ...]:
    """All NVIDIA GPUs; none where there is no driver or the `nvidia` extra is not installed."""
    try:
        import pynvml
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        return tuple(_read_gpu(index) for index in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()


def _read_gpu(index: int) -> Gpu:
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    busy = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
    return Gpu(index, str(pynvml.nvmlDeviceGetName(handle)), int(memory.used), int(memory.total), busy)


def describe_device(wanted: str) -> str:
    """The device an engine would take for `engine.device`, such as "cuda (NVIDIA H200, 141 GB)"."""
    if wanted == "cpu":
        return f"cpu ({_cpu()})"
    gpus = read_gpus()
    if gpus or Path("/proc/driver/nvidia/version").exists():
        index = int(wanted.partition(":")[2] or 0)
        known = [f"{gpu.name}, {gpu.memory_total_bytes / 1e9:.0f} GB" for gpu in gpus if gpu.index == index]
        return f"cuda ({known[0] if known else 'NVIDIA'})"
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "mps (Apple silicon)"
    return f"cpu ({_cpu()})"


def memory_bytes(wanted: str) -> int | None:
    """All memory of the GPU an engine would take for `engine.device`; None where it has none of its own, or unknown."""
    if wanted in ("cpu", "mps"):
        return None
    index = int(wanted.partition(":")[2] or 0)
    return next((gpu.memory_total_bytes for gpu in read_gpus() if gpu.index == index), None)


def _cpu() -> str:
    names = list(_cpu_names())
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def _cpu_names() -> Iterator[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        if line.startswith("model name"):
            yield line.partition(":")[2].strip()
