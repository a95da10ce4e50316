"""The sections of engine processes: their devices, and what is kept in memory."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

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


def _auto_or_list(value: object) -> str:
    return "auto" if value == "auto" else "list"


SizesOrAuto = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[PaintSizes, Tag("list")], Discriminator(_auto_or_list)
]


def _each_once(devices: tuple[str, ...]) -> tuple[str, ...]:
    """Raises ValueError for a device that is listed twice, except CPUs, which engines share."""
    own = ["cuda:0" if device == "cuda" else device for device in devices if device != "cpu"]
    if len(set(own)) < len(own):
        raise ValueError("two engines would have one device")
    return devices


OneDevice = Annotated[str, StringConstraints(pattern=r"^(cpu|mps|cuda(:\d+)?)$")]
SeveralDevices = Annotated[tuple[OneDevice, ...], BeforeValidator(split_at_commas), AfterValidator(_each_once)]
DevicesOrAuto = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[SeveralDevices, Tag("list")], Discriminator(_auto_or_list)
]


class Engine(Section):
    """The device, or several with an engine each, the number format, and how an engine process is supervised."""

    device: Device = "auto"
    devices: DevicesOrAuto = ()
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
    max_lanes: Annotated[int, Field(ge=1, le=16)] = 4
    compiled_sizes: SizesOrAuto = "auto"
    cuda_graphs: bool = True
    fp16_accumulation: bool = False
    warm_up: bool = True
    preview: Preview = "auto"
    preview_vae: str | None = None
    stall_seconds: Seconds = 300.0
    restart_backoff_seconds: Seconds = 0.5
    restart_backoff_max_seconds: Seconds = 30.0
    load_wait_seconds: Seconds = 60.0

    @model_validator(mode="after")
    def _one_or_several(self) -> Engine:
        if self.devices and self.device != "auto":
            raise ValueError("'device' is for one engine and 'devices' for several: set one of them")
        return self


class Memory(Section):
    """What is kept on the device and in host memory, in which format, and in how many bytes."""

    mode: Literal["auto", "fast", "balanced", "low"] = "auto"
    weights: Literal["native", "fp8", "int8"] = "native"
    products: Literal["native", "fp8"] = "native"
    vram_budget_bytes: Bytes | Literal["auto"] = "auto"
    host_budget_bytes: Bytes | Literal["auto"] = "auto"
    pristine: Literal["auto", "device", "host"] = "auto"
