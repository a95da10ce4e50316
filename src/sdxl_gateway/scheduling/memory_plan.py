"""Takes a checkpoint's sizes and a device's bytes, gives what lies where, what is left for LoRAs, and whether it fits.

Pure arithmetic: no tensor, no device. What painting takes was counted on the published model's shapes without values
(tests/engine/memory/test_peaks.py holds the figures to that).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from sdxl_gateway.config import Memory

Mode = Literal["fast", "balanced", "low"]
WeightFormat = Literal["native", "fp8", "int8"]
MODES: tuple[Mode, ...] = ("fast", "balanced", "low")
"""From the quickest to the one that takes the least."""

MIB = 2**20
USABLE_SHARE = 0.975
CONTEXT_BYTES = 450 * MIB
"""Of the device's memory the driver keeps some, and each process takes some for its code."""
PAINT_SHARE = 0.4
"""Of what weights leave free, at least this is left to paint in."""
STEP_BYTES = 80
DECODE_BYTES = 769
"""For each byte a number takes and each painted pixel: a UNet row's step; the VAE's decode."""
SWITCH_BYTES = 320 * MIB
"""Scratch of a blend's arithmetic."""
WORKSPACE_BYTES = 256 * MIB
"""What convolutions take beside their tensors, and what fragments."""
STAGING_BYTES = 256 * MIB
"""Two buffers through which weights come from host memory."""
TILE_SIDE = 512
LORA_BYTES = 162 * MIB
"""The factors of a usual LoRA: rank 32 on all attention and feed-forward layers, two bytes a number."""
WARM_LORAS = 10
"""Pristine copies stay on the device as far as so many LoRAs stay warm beside them."""
PRISTINE_SHARE = 0.5
"""Of the ledger, pristine copies take no more than this unless all of them find room."""
GUIDED_ROWS = 2
VAE_NUMBERS = 83_653_863
"""Of every SDXL's VAE."""
UNLIMITED_BYTES = 2**60
"""A device that shares the host's memory, where no plan is needed."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many numbers a checkpoint's components hold.

    `unet_blocks` and `text_blocks` are those of them a coarser format takes, `blendable` those a usual LoRA changes.
    """

    unet: int
    unet_blocks: int
    text: int
    text_blocks: int
    vae: int
    blendable: int


def sizes_of(shapes: Mapping[str, Shape]) -> Sizes:
    """From the shape of each module's weight in the UNet and the text encoders, by component-prefixed names."""

    def numbers(belongs: Callable[[str], bool]) -> int:
        return sum(prod(shape) for name, shape in shapes.items() if belongs(name))

    def is_unet(name: str) -> bool:
        return name.startswith("unet.")

    def in_blocks(name: str) -> bool:
        inside = "_block" in name if is_unet(name) else ".layers." in name
        return inside and len(shapes[name]) > 1

    return Sizes(
        unet=numbers(is_unet),
        unet_blocks=numbers(lambda name: is_unet(name) and in_blocks(name)),
        text=numbers(lambda name: not is_unet(name)),
        text_blocks=numbers(lambda name: not is_unet(name) and in_blocks(name)),
        vae=VAE_NUMBERS,
        blendable=numbers(lambda name: len(shapes[name]) == 2 and "embedding" not in name),
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the operator asked for; `pixels` is the area to paint, `lanes` the most pictures that may share a step."""

    mode: Mode | Literal["auto"] = "auto"
    weights: WeightFormat = "native"
    pristine: Literal["auto", "device", "host"] = "auto"
    pixels: int = 1024 * 1024
    lanes: int = 4
    number_bytes: int = 2
    vae_number_bytes: int = 2
    ledger_bytes: int | None = None

    @classmethod
    def of(cls, memory: Memory, lanes: int, number_bytes: int, vae_number_bytes: int) -> Wanted:
        """By the settings."""
        return cls(
            mode=memory.mode,
            weights=memory.weights,
            pristine=memory.pristine,
            lanes=lanes,
            number_bytes=number_bytes,
            vae_number_bytes=vae_number_bytes,
            ledger_bytes=None if memory.vram_budget_bytes == "auto" else memory.vram_budget_bytes,
        )


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes by purpose. `fits`: a picture of the area wanted, with a LoRA on, finds room.

    `weights_bytes` lie on the device for good, `host_bytes` in host memory, pristine copies among them but for
    `pristine_device_bytes` of their `pristine_bytes`. `decodes_beside`: a picture is decoded while others take their
    steps, each with memory of its own. `paint_bytes` is what steps, switches and decodes need, `room_bytes` what they
    have; `ledger_bytes` is for LoRAs, pristine copies and other models. Areas above `whole_pixels` are decoded in
    tiles.
    """

    mode: Mode
    weights: WeightFormat
    usable_bytes: int
    weights_bytes: int
    staging_bytes: int
    paint_bytes: int
    room_bytes: int
    ledger_bytes: int
    host_bytes: int
    pristine_bytes: int
    pristine_device_bytes: int
    whole_pixels: int
    lanes: int
    decodes_beside: bool
    fits: bool

    @property
    def pristine_on_device(self) -> bool:
        """All copies are."""
        return self.pristine_device_bytes == self.pristine_bytes

    @property
    def warm_loras(self) -> int:
        """How many usual LoRAs stay on the device."""
        return max(self.ledger_bytes - self.pristine_device_bytes, 0) // LORA_BYTES


def usable_bytes(total_bytes: int) -> int:
    """Of a whole card that nobody else uses."""
    return max(int(total_bytes * USABLE_SHARE) - CONTEXT_BYTES, 0)


def plan_memory(sizes: Sizes, usable: int, wanted: Wanted) -> MemoryPlan:
    """The quickest mode that fits, or the one asked for; the lowest where none does.

    No mode changes a picture, but for a decode in tiles, which is chosen before weights are streamed.
    """
    modes = MODES if wanted.mode == "auto" else (wanted.mode,)
    plans = [_plan(sizes, usable, wanted, mode) for mode in modes]
    return next((plan for plan in plans if plan.fits), plans[-1])


def left_for_ledger(free: int, paint_bytes: int) -> int:
    """Of what is free beside the weights."""
    return max(free - max(paint_bytes, int(free * PAINT_SHARE)), 0)


def decode_bytes(pixels: int, number_bytes: int) -> int:
    """The VAE's peak for a picture of that area in one piece."""
    return DECODE_BYTES * number_bytes * pixels


def resident_bytes(sizes: Sizes, mode: Mode, weights: WeightFormat, number_bytes: int, vae_number_bytes: int) -> int:
    """Of the weights, what is on the device for good."""
    unet = _stored(sizes.unet, sizes.unet_blocks, weights, number_bytes)
    text = _stored(sizes.text, sizes.text_blocks, weights, number_bytes)
    return {"fast": unet + text + sizes.vae * vae_number_bytes, "balanced": unet, "low": 0}[mode]


def counted_bytes(sizes: Sizes, mode: Mode, weights: WeightFormat, number_bytes: int) -> int:
    """What the ledger counts for a checkpoint: as much as it holds on the device.

    Where that is nothing it is what it holds in host memory: so one leaves for the next there too.
    """
    return resident_bytes(sizes, "fast" if mode == "low" else mode, weights, number_bytes, number_bytes)


def _stored(numbers: int, in_blocks: int, weights: WeightFormat, number_bytes: int) -> int:
    return numbers * number_bytes if weights == "native" else in_blocks + (numbers - in_blocks) * number_bytes


def _plan(sizes: Sizes, usable: int, wanted: Wanted, mode: Mode) -> MemoryPlan:
    resident = _resident(sizes, wanted, mode)
    staging = 0 if mode == "fast" else STAGING_BYTES
    free = usable - resident - staging
    paint = _first_that_fits(_paints(wanted, mode), free)
    ledger = left_for_ledger(free, paint) if wanted.ledger_bytes is None else wanted.ledger_bytes
    room = max(free - ledger, 0)
    pristine, near = _pristine(sizes, wanted, mode, ledger)
    lanes = _lanes(wanted, room)
    return MemoryPlan(
        mode=mode,
        weights=wanted.weights,
        usable_bytes=usable,
        weights_bytes=resident,
        staging_bytes=staging,
        paint_bytes=paint,
        room_bytes=room,
        ledger_bytes=ledger,
        host_bytes=_resident(sizes, wanted, "fast") - resident + pristine - near,
        pristine_bytes=pristine,
        pristine_device_bytes=near,
        whole_pixels=max(room - WORKSPACE_BYTES, 0) // decode_bytes(1, wanted.vae_number_bytes),
        lanes=lanes,
        decodes_beside=mode == "fast" and room >= beside_bytes(wanted, lanes),
        fits=room >= paint and free >= paint + LORA_BYTES,
    )


def _resident(sizes: Sizes, wanted: Wanted, mode: Mode) -> int:
    return resident_bytes(sizes, mode, wanted.weights, wanted.number_bytes, wanted.vae_number_bytes)


def _paints(wanted: Wanted, mode: Mode) -> Iterator[int]:
    """What painting needs: decoding whole, and but in fast mode in tiles."""
    tiled = replace(wanted, pixels=min(wanted.pixels, TILE_SIDE**2))
    for decoded in (wanted,) if mode == "fast" else (wanted, tiled):
        peaks = step_bytes(wanted, 1), decode_bytes(decoded.pixels, wanted.vae_number_bytes), SWITCH_BYTES
        yield max(peaks) + WORKSPACE_BYTES


def step_bytes(wanted: Wanted, lanes: int) -> int:
    """The UNet's peak for so many guided pictures."""
    return STEP_BYTES * wanted.number_bytes * wanted.pixels * GUIDED_ROWS * lanes


def beside_bytes(wanted: Wanted, lanes: int) -> int:
    """Of a step of so many guided pictures and a decode at once."""
    decode = decode_bytes(wanted.pixels, wanted.vae_number_bytes)
    return step_bytes(wanted, lanes) + decode + 2 * WORKSPACE_BYTES


def _first_that_fits(paints: Iterator[int], free: int) -> int:
    found = list(paints)
    return next((paint for paint in found if paint + LORA_BYTES <= free), found[-1])


def _lanes(wanted: Wanted, room: int) -> int:
    """At least one: a step that finds no room for more is taken in halves."""
    fitting = max(room - WORKSPACE_BYTES, 0) // step_bytes(wanted, 1)
    return max(min(wanted.lanes, fitting), 1)


def _pristine(sizes: Sizes, wanted: Wanted, mode: Mode, ledger: int) -> tuple[int, int]:
    """Their bytes, and how many of these on the device; of rounded weights all are on the host, from the start."""
    if wanted.weights != "native":
        return (sizes.unet_blocks + sizes.text_blocks) * wanted.number_bytes, 0
    copies = sizes.blendable * wanted.number_bytes
    if mode == "low" or wanted.pristine == "host":
        return copies, 0
    return copies, copies if wanted.pristine == "device" else _near(copies, ledger)


def _near(copies: int, ledger: int) -> int:
    """A copy is read at every switch, a LoRA at some: copies go first, as long as enough LoRAs stay warm."""
    beside_loras = max(ledger - WARM_LORAS * LORA_BYTES, 0)
    return copies if copies <= beside_loras else min(beside_loras, int(ledger * PRISTINE_SHARE))
