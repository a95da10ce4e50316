"""Facts about the devices of this machine, without torch."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_gateway.config import Engine
from sdxl_gateway.core.errors import StartProblem


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU, as its driver reports it; `utilization_ratio` is between 0 and 1."""

    index: int
    name: str
    memory_used_bytes: int
    memory_total_bytes: int
    utilization_ratio: float
    uuid: str = ""
    celsius: float = 0.0
    capability: tuple[int, int] | None = None


FP8_CAPABILITY = (8, 9)
"""The first compute capability whose tensor cores multiply 8-bit floats."""
DRIVERS = (Path("/proc/driver/nvidia/version"), Path("/usr/lib/wsl/lib/libcuda.so.1"))
"""Files that exist where an NVIDIA driver is, on Linux and WSL, whether or not it can be used."""


def driver_found() -> bool:
    """Whether this machine has an NVIDIA driver."""
    return any(path.exists() for path in DRIVERS)


def read_gpus() -> tuple[Gpu, ...]:
    """All NVIDIA GPUs; none without a driver or without the `nvidia` extra."""
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
    name, uuid = str(pynvml.nvmlDeviceGetName(handle)), str(pynvml.nvmlDeviceGetUUID(handle))
    celsius = float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Gpu(index, name, int(memory.used), int(memory.total), busy, uuid, celsius, (int(major), int(minor)))


def fp8_problem(wanted: str) -> str | None:
    """For the device an engine would take for `engine.device`, as `why_no_fp8_products`; None for one not known."""
    own = wanted in ("cpu", "mps")
    gpu = None if own else gpu_of(wanted, read_gpus())
    if gpu is not None:
        return why_no_fp8_products(f"the {gpu.name}", gpu.capability)
    return None if driver_found() and not own else why_no_fp8_products(describe_device(wanted).partition(" ")[0], None)


def why_no_fp8_products(device: str, capability: tuple[int, int] | None) -> str | None:
    """For the operator of such a device, without a capability if it is no NVIDIA GPU; None where it has them."""
    if capability is not None and capability >= FP8_CAPABILITY:
        return None
    found = "is none" if capability is None else "has {}.{}".format(*capability)
    least = "{}.{}".format(*FP8_CAPABILITY)
    return (
        f"memory.products is 'fp8', for which a GPU needs compute capability {least} (Ada, Hopper); {device} {found}."
    )


def devices_of(engine: Engine) -> tuple[str, ...]:
    """The device of each engine: `engine.devices`, or else `engine.device` alone.

    "auto" is every GPU that engine processes see. Raises StartProblem if those cannot be listed.
    """
    if engine.devices != "auto":
        return engine.devices or (engine.device,)
    gpus = read_gpus()
    if not gpus and driver_found():
        raise StartProblem("engine.devices: 'auto' needs `pip install 'sdxl-gateway[nvidia]'` to count the GPUs.")
    seen = visible(gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))
    return tuple(f"cuda:{number}" for number in range(len(seen))) or (engine.device,)


def describe_device(wanted: str) -> str:
    """The device an engine would take for `engine.device`, such as "cuda:1 (NVIDIA H200, 141 GB)"."""
    if wanted == "cpu":
        return f"cpu ({_cpu()})"
    gpus = read_gpus()
    if gpus or driver_found():
        gpu = gpu_of(wanted, gpus)
        card = "NVIDIA" if gpu is None else f"{gpu.name}, {gpu.memory_total_bytes / 1e9:.0f} GB"
        return f"{'cuda' if wanted == 'auto' else wanted} ({card})"
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "mps (Apple silicon)"
    return f"cpu ({_cpu()})"


def least_memory_bytes(devices: Sequence[str]) -> int | None:
    """The least memory of the devices that have their own: what fits there fits all."""
    return min((size for size in map(memory_bytes, devices) if size is not None), default=None)


def memory_bytes(wanted: str) -> int | None:
    """The memory of the GPU that an engine would use for `engine.device`; None if unknown, or shared with the host."""
    if wanted in ("cpu", "mps"):
        return None
    gpu = gpu_of(wanted, read_gpus())
    return None if gpu is None else gpu.memory_total_bytes


def gpu_of(wanted: str, gpus: Sequence[Gpu]) -> Gpu | None:
    """The GPU that "cuda:N" stands for in an engine process; None if the driver does not report it."""
    seen = visible(gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))
    index = int(wanted.partition(":")[2] or 0)
    return seen[index] if index < len(seen) else None


def visible(gpus: Sequence[Gpu], chosen: str | None) -> list[Gpu]:
    """The GPUs that CUDA_VISIBLE_DEVICES selects, in its order: by number or by the beginning of a UUID.

    As in CUDA, everything after the first invalid one is ignored.
    """
    if chosen is None:
        return list(gpus)
    found: list[Gpu] = []
    for word in chosen.split(","):
        gpu = next((gpu for gpu in gpus if _is_called(gpu, word.strip())), None)
        if gpu is None:
            break
        found.append(gpu)
    return found


def _is_called(gpu: Gpu, word: str) -> bool:
    return word == str(gpu.index) or (word.startswith("GPU-") and gpu.uuid.startswith(word))


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
