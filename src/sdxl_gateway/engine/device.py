"""Takes the `[engine]` section and the machine's devices, gives the device and the number formats to paint with."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from sdxl_gateway.core.container import processors
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.engine.quiet import quiet
from sdxl_gateway.engine.streams import new_stream
from sdxl_gateway.telemetry.device import driver_found

DtypeName = Literal["auto", "float32", "float16", "bfloat16"]
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
CPU = torch.device("cpu")
COPIES = 2
"""Of a checkpoint's weights in host memory: the weights and, once a LoRA is on, their pristine copies."""
_ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)(\d)")
GPU_THREADS = 4
"""CPU threads beside a GPU, for reading LoRAs and for copies; more would only compete with the step thread."""


def choose_device(wanted: str, *, cuda: bool, mps: bool, problem: str | None = None) -> torch.device:
    """The best available for "auto"; `problem` is why torch cannot use an NVIDIA GPU whose driver is installed.

    Raises CheckpointProblem for a device that is not available; "auto" never falls back to a CPU for a `problem`.
    """
    if wanted == "auto":
        wanted = "cuda" if cuda or problem else "mps" if mps else "cpu"
    device = torch.device(wanted)
    if not {"cuda": cuda, "mps": mps, "cpu": True}[device.type]:
        raise CheckpointProblem(_not_usable(wanted, problem if device.type == "cuda" else None))
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def _not_usable(wanted: str, problem: str | None) -> str:
    if problem is None:
        return f"engine.device is '{wanted}', but torch finds no such device here."
    return f"There is an NVIDIA driver, but torch cannot use a GPU: {problem} engine.device = 'cpu' paints without one."


def choose_dtype(wanted: DtypeName, device_type: str, *, parameters: int, free_host_bytes: int) -> torch.dtype:
    """The dtype of the UNet and the text encoders.

    float16 on GPUs: bfloat16 would round away a twentieth of a LoRA's effect. float32 on CPUs, whose half-precision
    arithmetic is mostly slower, unless that many `parameters` of 4 bytes do not fit.
    """
    if wanted != "auto":
        return DTYPES[wanted]
    if device_type != "cpu":
        return torch.float16
    return torch.float32 if COPIES * 4 * parameters <= free_host_bytes else torch.bfloat16


def choose_vae_dtype(dtype: torch.dtype, device_type: str, *, force_upcast: bool, bfloat16_works: bool) -> torch.dtype:
    """The VAE's dtype beside a UNet in `dtype`; on a CPU float32, as a VAE is small.

    A VAE whose config says `force_upcast` overflows in float16: bfloat16 has the range, float32 range and precision.
    """
    if device_type == "cpu":
        return torch.float32
    if dtype is torch.float16 and force_upcast:
        return torch.bfloat16 if bfloat16_works else torch.float32
    return dtype


def choose_compute_dtype(dtype: torch.dtype, device_type: str, *, bfloat16_works: bool) -> torch.dtype:
    """The dtype to compute in with weights stored in `dtype`: float32 on a CPU that only emulates half precision."""
    if device_type == "cpu" and not (dtype is torch.bfloat16 and bfloat16_works):
        return torch.float32
    return dtype


def bfloat16_works(device: torch.device) -> bool:
    """The device computes in bfloat16 natively."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def open_device(wanted: str, threads: int, engines: int = 1) -> torch.device:
    """Choose and initialise the device; `threads` 0 chooses a number, for one of that many `engines` on the machine.

    Raises CheckpointProblem for a device that torch cannot use.
    """
    cuda = torch.cuda.is_available()
    problem = None if cuda or wanted == "cpu" or not driver_found() else _why_not_cuda()
    device = choose_device(wanted, cuda=cuda, mps=torch.backends.mps.is_available(), problem=problem)
    _take_threads(threads or choose_threads(device.type, torch.get_num_threads(), processors(), engines))
    if device.type == "cuda":
        _refuse_absent(device)
        _refuse_unbuilt(device)
        be_current(device)
    return device


def sum_in_half(device: torch.device, wanted: bool) -> None:
    """Set whether CUDA accumulates float16 matrix products in float16; convolutions and other formats never are."""
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_fp16_accumulation = wanted


def choose_threads(device_type: str, of_torch: int, allowed: int, engines: int = 1) -> int:
    """CPU threads: torch's default, which ignores container quotas, capped to this engine's share of the `allowed`
    processors, and to a few beside a GPU."""
    share = max(allowed // engines, 1)
    return min(of_torch, share, *([GPU_THREADS] if device_type == "cuda" else []))


def _take_threads(number: int) -> None:
    """Even setting the number that torch has already would change how its libraries choose theirs."""
    if number != torch.get_num_threads():
        torch.set_num_threads(number)


def be_current(device: torch.device) -> None:
    """Set this thread's current CUDA device, which page-locked memory is registered with; by default it is cuda:0."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def card_name(device: torch.device) -> str:
    """The GPU's own name; empty for other devices."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""


def built_for(capability: tuple[int, int], architectures: Sequence[str]) -> bool:
    """Torch has code for a GPU of that compute capability.

    "sm_86" is machine code for 8.6 and later of the same major version; "compute_90" can be compiled for any later one.
    """
    targets = [match.groups() for match in map(_ARCHITECTURE.fullmatch, architectures) if match]
    return any(
        (int(major), int(minor)) <= capability and (kind == "compute" or int(major) == capability[0])
        for kind, major, minor in targets
    )


def _refuse_absent(device: torch.device) -> None:
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise CheckpointProblem(f"engine.device is '{device}', but torch sees {count} GPUs here, from cuda:0 on.")


def _refuse_unbuilt(device: torch.device) -> None:
    capability = torch.cuda.get_device_capability(device)
    architectures = [name for name in torch.cuda.get_arch_list() if _ARCHITECTURE.fullmatch(name)]
    if architectures and not built_for(capability, architectures):
        raise CheckpointProblem(
            f"The {card_name(device)} has compute capability {capability[0]}.{capability[1]}, for which torch"
            f" {torch.__version__} has no code: it was built for {', '.join(architectures)}."
        )


def _why_not_cuda() -> str:
    """The first line of torch's own error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # Untyped in torch.
            torch.cuda.init()  # type: ignore[no-untyped-call]
        except Exception as error:
            return str(error).partition("\n")[0].rstrip(".") + "."
    return "it sees no GPU; CUDA_VISIBLE_DEVICES, or a container's own settings, may hide it."


@cache
def copy_stream(device: torch.device) -> torch.cuda.Stream | None:
    """The stream for copies to a CUDA device, concurrent with the step loop's; None on other devices.

    One for all callers, as torch reuses freed memory only on the stream it was allocated on.
    """
    return new_stream(device) if device.type == "cuda" else None


def to_device(tensor: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """The host's tensor, on the device. Goes through page-locked memory, which alone CUDA copies asynchronously."""
    if device.type != "cuda":
        return tensor.to(device, dtype)
    return tensor.to(dtype).contiguous().pin_memory().to(device, non_blocking=True)


@contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """On CUDA, copies issued in this context run on the copy stream, and are done when the context ends."""
    stream = copy_stream(device)
    if stream is None:
        yield
        return
    with torch.cuda.stream(stream):
        yield
    stream.synchronize()


def filled_beside(target: Tensor, fill: Callable[[Tensor], None]) -> torch.cuda.Event | None:
    """Have `fill` copy into `target`, allocated on the caller's stream; gives an event that follows the copy.

    On CUDA the copy runs on the copy stream, after the work issued to the caller's so far, which may still use the
    memory under another tensor. The host does not wait. None if the copy is done already.
    """
    stream = copy_stream(target.device)
    if stream is None:
        fill(target)
        return None
    stream.wait_stream(torch.cuda.current_stream(target.device))
    with torch.cuda.stream(stream):
        fill(target)
    # If `target` is freed before the copy ends, the allocator must not reuse its memory until then.
    target.record_stream(stream)
    filled: torch.cuda.Event = stream.record_event()
    return filled


def await_event(event: torch.cuda.Event | None, device: torch.device) -> None:
    """Make the caller's stream wait for the event before later work; the host does not wait."""
    if event is not None:
        torch.cuda.current_stream(device).wait_event(event)


def finish_steps(device: torch.device) -> None:
    """On CUDA, wait until all work issued so far has run, so that memory it reads may be freed."""
    if device.type == "cuda":
        with quiet.disturbed():
            torch.cuda.synchronize(device)


def used_bytes(device: torch.device) -> int:
    """Device memory that this process holds, including torch's cache; 0 on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.memory_reserved(device))
    return int(torch.mps.driver_allocated_memory()) if device.type == "mps" else 0
