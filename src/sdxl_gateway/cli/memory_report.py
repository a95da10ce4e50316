"""Reports how a device's memory would be used, and what does not fit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import typer

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.config import Settings
from sdxl_gateway.scheduling.memory_plan import (
    CONTEXT_BYTES,
    SWITCH_BYTES,
    WORKSPACE_BYTES,
    MemoryPlan,
    Wanted,
    decode_bytes,
    plan_memory,
    step_bytes,
    usable_bytes,
)
from sdxl_gateway.scheduling.weight_sizes import sizes_of

GIB = 2**30
UNITS = {"gib": 2**30, "gb": 10**9, "mib": 2**20, "mb": 10**6}


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """The plan for the largest checkpoint on a device of `total_bytes` that no other process uses."""

    checkpoint: str
    total_bytes: int
    wanted: Wanted
    plan: MemoryPlan
    smaller: MemoryPlan

    @property
    def problems(self) -> list[str]:
        """A sentence if nothing can be painted, with what would fit."""
        if self.plan.fits:
            return []
        fitting = f"; '{self.smaller.mode}' would" if self.smaller.fits else ", nor in any other mode"
        return [
            f"memory.mode: '{self.checkpoint}' does not fit in {_gib(self.total_bytes)} as '{self.plan.mode}'{fitting}."
        ]

    def as_json(self) -> dict[str, Any]:
        """Bytes by purpose."""
        found = {"checkpoint": self.checkpoint, "total_bytes": self.total_bytes, **asdict(self.plan)}
        return found | {"warm_loras": self.plan.warm_loras}

    def lines(self) -> Iterator[str]:
        """The choices and their reasons: each item with its bytes."""
        plan = self.plan
        formats = f"{plan.weights} weights" + ("" if plan.products == "native" else f", {plan.products} products")
        yield f"memory       {plan.mode}, {formats}, for {self.checkpoint} on {_gib(self.total_bytes)}"
        items = {
            f"usable, beside what the driver keeps and {_gib(CONTEXT_BYTES)} of code": plan.usable_bytes,
            "weights that stay on the device": plan.weights_bytes,
            "buffers for weights that come from host memory": plan.staging_bytes,
            f"to paint in, of which {_gib(plan.paint_bytes)} are needed: {self._peaks()}": plan.room_bytes,
            f"LoRAs and other models: {self._loras()}": plan.ledger_bytes,
            "in host memory": plan.host_bytes,
        }
        yield from (f"  {_gib(size_bytes):>9}  {purpose}" for purpose, size_bytes in items.items())
        yield f"  {plan.lanes:>9}  pictures of {self.wanted.pixels / 1e6:.2f} megapixels share a step"
        yield f"  {plan.whole_pixels / 1e6:9.2f}  megapixels are decoded whole, larger pictures in tiles"

    def _peaks(self) -> str:
        decode = decode_bytes(self.wanted.pixels, self.wanted.vae_number_bytes)
        whole = _gib(decode) if self.plan.whole_pixels >= self.wanted.pixels else "in tiles"
        return (
            f"the largest of a step {_gib(step_bytes(self.wanted, 1))}, a decode {whole},"
            f" a blend's switch {_gib(SWITCH_BYTES)}; and workspace {_gib(WORKSPACE_BYTES)}"
        )

    def _loras(self) -> str:
        near = self.plan.pristine_device_bytes
        far = self.plan.pristine_bytes - near
        pristine = f"pristine copies take {_gib(near)} of it, and {_gib(far)} in host memory"
        return f"{self.plan.warm_loras} usual ones stay warm; {pristine}"


def report_memory(settings: Settings, checkpoints: Iterable[CheckpointEntry], total_bytes: int) -> MemoryReport:
    """The report for the largest of the checkpoints; there must be at least one."""
    number_bytes = 4 if settings.engine.dtype == "float32" else 2
    wanted = Wanted.of(settings.memory, settings.engine.max_lanes, number_bytes, number_bytes)
    largest = max(checkpoints, key=lambda entry: sizes_of(entry.shapes).unet)
    sizes, usable = sizes_of(largest.shapes), usable_bytes(total_bytes)
    plan, smaller = (plan_memory(sizes, usable, one) for one in (wanted, replace(wanted, mode="auto")))
    return MemoryReport(largest.name, total_bytes, wanted, plan, smaller)


def bytes_of(text: str) -> int:
    """Parses "8GiB", "24 GB" or "8" (GiB). Raises typer.BadParameter."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([gm]i?b)?", text.strip().lower())
    if found is None:
        raise typer.BadParameter("should be a size such as 8GiB.", param_hint="'--vram'")
    return int(float(found[1]) * UNITS[found[2] or "gib"])


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.2f} GiB"
