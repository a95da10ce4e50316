"""The sections of engine processes: the device, and what stays on it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, StringConstraints, Tag

from sdxl_gateway.config.section import Bytes, Seconds, Section, split_at_commas
from sdxl_gateway.core.limits import LONGEST_SIDE, SHORTEST_SIDE, SIDE_UNIT
from sdxl_gateway.core.picture import Size as PixelSize

Preview = Literal["auto", "linear", "vae"]


def _paintable(size: str) -> str:
    if any(side % SIDE_UNIT or not SHORTEST_SIDE <= side <= LONGEST_SIDE for side in PixelSize.of(size)):
        raise ValueError(f"both sides are to be divisible by {SIDE_UNIT}, from {SHORTEST_SIDE} to {LONGEST_SIDE}")
    return size


Device = Annotated[str, StringConstraints(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
PaintSize = Annotated[str, StringConstraints(pattern=r"^\d{2,4}x\d{2,4}$"), AfterValidator(_paintable)]
PaintSizes = Annotated[tuple[PaintSize, ...], BeforeValidator(split_at_commas)]


def _kind_of_sizes(value: object) -> str:
    return "auto" if value == "auto" else "sizes"


SizesOrAuto = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[PaintSizes, Tag("sizes")], Discriminator(_kind_of_sizes)
]


class Engine(Section):
    """The device, its number format, and how an engine process is watched."""

    device: Device = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
    max_lanes: Annotated[int, Field(ge=1, le=16)] = 4
    compiled_sizes: SizesOrAuto = "auto"
    cuda_graphs: bool = True
    warm_up: bool = True
    preview: Preview = "auto"
    preview_vae: str | None = None
    stall_seconds: Seconds = 300.0
    restart_backoff_seconds: Seconds = 0.5
    restart_backoff_max_seconds: Seconds = 30.0
    load_wait_seconds: Seconds = 60.0


class Memory(Section):
    """What stays on the device and in host memory, in which format, in bytes."""

    mode: Literal["auto", "fast", "balanced", "low"] = "auto"
    weights: Literal["native", "fp8", "int8"] = "native"
    products: Literal["native", "fp8"] = "native"
    vram_budget_bytes: Bytes | Literal["auto"] = "auto"
    host_budget_bytes: Bytes | Literal["auto"] = "auto"
    pristine: Literal["auto", "device", "host"] = "auto"
