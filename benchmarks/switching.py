"""Measures what a switch of blends costs a card, on SDXL's real UNet with random weights.

    python -m benchmarks.switching [--tune]

Each kind of adapter is put on in turns with another of its kind, in stacks and by the kernels, so that every switch
writes every layer. On a CPU it goes through the same, small and untimed: the kernels need TRITON_INTERPRET=1 there.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.blends import TINY, Blender, Factors, Make, random_unet, table_bytes
from benchmarks.figures import Row
from sdxl_gateway.engine.lora import table
from sdxl_gateway.engine.lora.formats import Adapter
from sdxl_gateway.engine.lora.fused import merge_kernel
from sdxl_gateway.engine.lora.table import Kernel, MergeTable, Tiling
from tools.full_size_model import UNET

WEIGHT = 0.8
CHECKED_LAYERS = 12
TINY_EVERY = 40
"""The interpreter takes its time: on a CPU one of so many layers will do."""
TILINGS = (
    Tiling(),
    Tiling(64, 128, 2, 32, 8),
    Tiling(64, 128, 8, 32, 8),
    Tiling(64, 64, 8, 32, 4),
    Tiling(128, 64, 8, 32, 8),
    Tiling(128, 128, 4, 32, 8),
    Tiling(64, 128, 4, 64, 8),
    Tiling(32, 128, 4, 32, 4),
)


@dataclass(frozen=True, slots=True)
class Kind:
    """`count` adapters of a kind at once, for the convolutions too where it says so."""

    name: str
    make: Make
    count: int = 1
    convolutions: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one way to put one kind on. Times in ms: of the whole switch, of it the host's, and of the kernels alone.

    `error` is that of the weights against float64, relative to the blend's effect; `least` what rounding alone costs.
    """

    kind: str
    way: str
    switch_ms: float
    host_ms: float
    kernels_ms: float
    kernels: int
    gigabytes: float
    error: float
    least: float
    restored: bool

    def cells(self) -> list[str]:
        """As they are printed."""
        rate = self.gigabytes / self.kernels_ms if self.kernels_ms else 0.0
        times = [f"{ms:.2f}" for ms in (self.switch_ms, self.host_ms, self.kernels_ms)]
        errors = f"{self.error:.5f} ({self.least:.5f})"
        return [self.kind, self.way, *times, str(self.kernels), f"{rate:.2f}", errors, "yes" if self.restored else "NO"]

    def row(self) -> Row:
        """As it is kept."""
        *_, host, alone, kernels, _, errors, back = self.cells()
        detail = f"ms; host {host}, {kernels} kernels of {alone}, error (least) {errors}, bits back: {back}"
        return Row(f"switch, {self.kind}, by {self.way}", self.switch_ms, None, True, detail, 1)


HEADS = ("kind", "way", "switch ms", "host ms", "kernels ms", "kernels", "floor TB/s", "error (least)", "bits back")


def kinds(factors: Factors) -> tuple[Kind, ...]:
    """What is measured."""
    return (
        Kind("LoRA, rank 16", factors.lora(16)),
        Kind("LoRA, rank 64", factors.lora(64)),
        Kind("3 LoRAs, rank 64", factors.lora(64), count=3),
        Kind("LoCon, rank 16", factors.lora(16), convolutions=True),
        Kind("DoRA, rank 16", factors.dora(16)),
        Kind("LoHa, rank 16", factors.loha(16)),
        Kind("LoKr", factors.lokr()),
    )


class Watched:
    """A kernel that tells how many bytes its tables ask for."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.bytes = 0

    def __call__(self, merge: MergeTable, device: torch.device) -> None:
        self.bytes = table_bytes(merge)
        self._kernel(merge, device)


def measured(
    unet: nn.Module, device: torch.device, kind: Kind, kernel: Kernel | None, repeats: int, every: int = 1
) -> Figures:
    """One kind put on one way, on one of `every` so many layers."""
    watched = Watched(kernel) if kernel else None
    blender = Blender(unet, device, stacked=True, kernel=watched)
    layers = dict(list(blender.layers(convolutions=kind.convolutions).items())[::every])
    before, pristine = checksum(unet), _sample(unet, layers)
    digests = [blender.give(f"{kind.name} {i}", kind.make, layers) for i in range(2 * kind.count)]
    blends = digests[: kind.count], digests[kind.count :]
    for blend in (*blends, *blends):
        blender.put_on(blend, WEIGHT)
    switches = [partial(blender.put_on, blends[turn % 2], WEIGHT) for turn in range(repeats + 1)]
    times = [_timed(switch, device) for switch in switches[:-1]]
    kernels, kernels_ms = _profiled(switches[-1], device)
    adapters = [blender.adapters.use(digest) for digest in blends[repeats % 2]]
    error, least = _errors(pristine, _sample(unet, layers), adapters)
    blender.put_on()
    blender.switcher.close()
    restored = checksum(unet) == before
    size_bytes = watched.bytes if watched else 4 * sum(rows * columns for rows, columns in layers.values())
    switch_ms, host_ms = (median(column) for column in zip(*times, strict=True))
    way = "kernels" if kernel else "stacks"
    return Figures(kind.name, way, switch_ms, host_ms, kernels_ms, kernels, size_bytes / 1e9, error, least, restored)


def _sample(unet: nn.Module, layers: Iterable[str]) -> dict[str, Tensor]:
    """Copies of some layers' weights, from one end of the UNet to the other."""
    names = list(layers)
    chosen = names[:: max(1, len(names) // CHECKED_LAYERS)]
    found = {name: unet.get_parameter(name.removeprefix("unet.")).detach() for name in chosen}
    return {name: weight.reshape(weight.shape[0], -1).clone() for name, weight in found.items()}


def checksum(unet: nn.Module) -> list[int]:
    """Two numbers of each parameter's bits and its address: whatever changes a bit changes the first of them."""
    return [number for parameter in unet.parameters() for number in (_bits(parameter), parameter.data_ptr())]


def _bits(parameter: Tensor) -> int:
    integers = {2: torch.int16, 4: torch.int32}[parameter.element_size()]
    # As they lie in memory, whatever its format.
    flat = torch.as_strided(parameter.detach(), (parameter.numel(),), (1,)).view(integers).to(torch.int64)
    places = torch.arange(1, flat.numel() + 1, device=flat.device) % 65521
    return int((flat * places).sum())


def _timed(switch: Callable[[], None], device: torch.device) -> tuple[float, float]:
    """ms on the device's clock from the first thing asked to the last thing done, and ms of the host's own work."""
    if device.type != "cuda":
        start = time.perf_counter()
        switch()
        return 2 * (1e3 * (time.perf_counter() - start),)
    # torch leaves its constructor untyped.
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize(device)
    start = time.thread_time()
    first.record()
    switch()
    last.record()
    host_ms = 1e3 * (time.thread_time() - start)
    last.synchronize()
    return first.elapsed_time(last), host_ms


def _profiled(switch: Callable[[], None], device: torch.device) -> tuple[int, float]:
    """How many kernels and copies ran, and for how many ms."""
    if device.type != "cuda":
        switch()
        return 0, 0.0
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        switch()
        torch.cuda.synchronize(device)
    events = [event for event in found.events() if event.device_type.name == "CUDA"]
    return len(events), sum(event.device_time_total for event in events) / 1e3


def _errors(
    pristine: Mapping[str, Tensor], found: Mapping[str, Tensor], adapters: Sequence[Adapter]
) -> tuple[float, float]:
    """Of the weights, and of what one rounding would have given, as parts of what the blend does."""
    squares = torch.zeros(3, dtype=torch.float64)
    for name, before in pristine.items():
        changes = [adapter.deltas[name].dense(before.float()).double() for adapter in adapters]
        expected = before.double() + WEIGHT * torch.stack(changes).sum(0)
        for i, one in enumerate((found[name], expected.to(before.dtype), before)):
            squares[i] += (one.double() - expected).square().sum().cpu()
    error, least, effect = squares.sqrt().tolist()
    return error / effect, least / effect


def rows(unet: nn.Module, device: torch.device, repeats: int, every: int = 1) -> Iterator[Figures]:
    """Every kind both ways; only in stacks where no kernel runs."""
    kernel = _kernel(device)
    for kind in kinds(Factors(device)):
        for way in (None, kernel) if kernel else (None,):
            yield measured(unet, device, kind, way, repeats, every)


def switching_rows(on_gpu: bool, repeats: int) -> Iterator[Row]:
    """Of SDXL's UNet on the first GPU, or of a small one where there is none."""
    device = torch.device("cuda:0" if on_gpu else "cpu")
    unet = random_unet(UNET if on_gpu else TINY, device, torch.float16)
    return (found.row() for found in rows(unet, device, repeats, 1 if on_gpu else TINY_EVERY))


def _kernel(device: torch.device) -> Kernel | None:
    if device.type == "cuda":
        return merge_kernel(device, torch.float16)
    if os.environ.get("TRITON_INTERPRET") != "1":
        return None
    with suppress(ImportError):
        from sdxl_gateway.engine.lora.triton_merge import launch

        return launch
    return None


def tune(unet: nn.Module, device: torch.device, repeats: int) -> Iterator[tuple[Tiling, list[float]]]:
    """The kernels' ms at rank 16 and 64 and of three of rank 64, for other sizes of what a program writes."""
    usual = table.TILINGS[:]
    try:
        for tiling in TILINGS:
            table.TILINGS[0] = tiling
            chosen = kinds(Factors(device))[:3]
            yield tiling, [measured(unet, device, kind, _kernel(device), repeats).kernels_ms for kind in chosen]
    finally:
        table.TILINGS[:] = usual


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tune", action="store_true", help="time the kernels with other tilings too")
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    on_cuda = device.type == "cuda"
    unet = random_unet(UNET if on_cuda else TINY, device, torch.float16)
    console = Console(width=160)
    console.print(torch.cuda.get_device_name(device) if on_cuda else "no CUDA device: small, and times say nothing")
    found = Table(*HEADS)
    for figures in rows(unet, device, *((arguments.repeats,) if on_cuda else (1, TINY_EVERY))):
        found.add_row(*figures.cells())
    console.print(found)
    if arguments.tune:
        for tiling, times in tune(unet, device, 1):
            console.print(tiling, [f"{ms:.2f}" for ms in times])


if __name__ == "__main__":
    main()
