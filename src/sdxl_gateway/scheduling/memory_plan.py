"""Plans a device's memory for a checkpoint: what is kept where, what is left for LoRAs, and whether it fits.

Pure arithmetic, without tensors or devices. The memory of painting was counted with the published model's shapes
(tests/engine/memory/test_peaks.py checks the figures).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from sdxl_gateway.config import Memory
from sdxl_gateway.scheduling.weight_sizes import Formats, Mode, ProductFormat, Sizes, WeightFormat, resident_bytes

MODES: tuple[Mode, ...] = ("fast", "balanced", "low")
"""From the fastest to the one that needs the least memory."""

MIB = 2**20
USABLE_SHARE = 0.975
CONTEXT_BYTES = 450 * MIB
"""Device memory that the driver and the process's code occupy."""
PAINT_SHARE = 0.4
"""At least this share of what weights leave free is kept for painting."""
STEP_BYTES = 80
DECODE_BYTES = 769
"""Per painted pixel and byte of a number: a step of a UNet row, and the VAE's decode."""
TEXT_NUMBERS = 77 * 166_400
"""Keys and values of a row's text, which are kept between steps."""
SWITCH_BYTES = 320 * MIB
"""Scratch memory of a switch of blends."""
WORKSPACE_BYTES = 256 * MIB
"""Workspaces of convolutions, and fragmentation."""
STAGING_BYTES = 256 * MIB
"""Two buffers through which weights are streamed from host memory."""
TILE_SIDE = 512
LORA_BYTES = 162 * MIB
"""The factors of a typical LoRA: rank 32 on all attention and feed-forward layers, two bytes a number."""
WARM_LORAS = 10
"""Pristine copies are kept on the device only as far as so many LoRAs stay warm besides them."""
PRISTINE_SHARE = 0.5
"""The largest share of the ledger for pristine copies, unless all of them fit."""
GUIDED_ROWS = 2
UNLIMITED_BYTES = 2**60
"""For a device that shares the host's memory, which needs no plan."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The operator's wishes; `pixels` is the area to paint, `lanes` the most pictures in a batch."""

    mode: Mode | Literal["auto"] = "auto"
    weights: WeightFormat = "native"
    products: ProductFormat = "native"
    pristine: Literal["auto", "device", "host"] = "auto"
    pixels: int = 1024 * 1024
    lanes: int = 4
    number_bytes: int = 2
    vae_number_bytes: int = 2
    ledger_bytes: int | None = None

    @property
    def formats(self) -> Formats:
        """Of the weights."""
        return Formats(self.weights, self.products)

    @classmethod
    def of(cls, memory: Memory, lanes: int, number_bytes: int, vae_number_bytes: int) -> Wanted:
        """By the settings."""
        return cls(
            mode=memory.mode,
            weights=memory.weights,
            products=memory.products,
            pristine=memory.pristine,
            lanes=lanes,
            number_bytes=number_bytes,
            vae_number_bytes=vae_number_bytes,
            ledger_bytes=None if memory.vram_budget_bytes == "auto" else memory.vram_budget_bytes,
        )


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes by purpose. `fits` if there is room for a picture of the wanted area with a LoRA.

    `weights_bytes` are on the device permanently, `host_bytes` in host memory, which includes pristine copies except
    `pristine_device_bytes` of their `pristine_bytes`. With `decodes_beside` a picture is decoded while others take
    steps, each with memory of its own. `paint_bytes` is what steps, switches and decodes need, `room_bytes` what they
    have; `ledger_bytes` is for LoRAs, pristine copies and other models. Areas above `whole_pixels` are decoded in
    tiles.
    """

    mode: Mode
    weights: WeightFormat
    products: ProductFormat
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
    def formats(self) -> Formats:
        """Of the weights."""
        return Formats(self.weights, self.products)

    @property
    def pristine_on_device(self) -> bool:
        """Whether all copies are on the device."""
        return self.pristine_device_bytes == self.pristine_bytes

    @property
    def warm_loras(self) -> int:
        """How many typical LoRAs stay on the device."""
        return max(self.ledger_bytes - self.pristine_device_bytes, 0) // LORA_BYTES


def usable_bytes(total_bytes: int) -> int:
    """The usable bytes of a whole card that nobody else uses."""
    return max(int(total_bytes * USABLE_SHARE) - CONTEXT_BYTES, 0)


def plan_memory(sizes: Sizes, usable: int, wanted: Wanted) -> MemoryPlan:
    """The fastest mode that fits, or the one asked for; the lowest if none fits.

    No mode changes a picture, except decoding in tiles, which is chosen before weights are streamed.
    """
    modes = MODES if wanted.mode == "auto" else (wanted.mode,)
    plans = [_plan(sizes, usable, wanted, mode) for mode in modes]
    return next((plan for plan in plans if plan.fits), plans[-1])


def left_for_ledger(free: int, paint_bytes: int) -> int:
    """The ledger's part of what weights leave free."""
    return max(free - max(paint_bytes, int(free * PAINT_SHARE)), 0)


def decode_bytes(pixels: int, number_bytes: int) -> int:
    """The VAE's peak for a picture of that area in one piece."""
    return DECODE_BYTES * number_bytes * pixels


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
        products=wanted.products,
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
    return resident_bytes(sizes, mode, wanted.formats, wanted.number_bytes, wanted.vae_number_bytes)


def _paints(wanted: Wanted, mode: Mode) -> Iterator[int]:
    """What painting needs: decoding whole, and but in fast mode in tiles."""
    tiled = replace(wanted, pixels=min(wanted.pixels, TILE_SIDE**2))
    for decoded in (wanted,) if mode == "fast" else (wanted, tiled):
        peaks = step_bytes(wanted, 1), decode_bytes(decoded.pixels, wanted.vae_number_bytes), SWITCH_BYTES
        yield max(peaks) + WORKSPACE_BYTES


def step_bytes(wanted: Wanted, lanes: int) -> int:
    """The UNet's peak for so many guided pictures, including their texts' keys and values."""
    return (STEP_BYTES * wanted.pixels + TEXT_NUMBERS) * wanted.number_bytes * GUIDED_ROWS * lanes


def beside_bytes(wanted: Wanted, lanes: int) -> int:
    """The peak of a step of so many guided pictures and a simultaneous decode."""
    decode = decode_bytes(wanted.pixels, wanted.vae_number_bytes)
    return step_bytes(wanted, lanes) + decode + 2 * WORKSPACE_BYTES


def _first_that_fits(paints: Iterator[int], free: int) -> int:
    found = list(paints)
    return next((paint for paint in found if paint + LORA_BYTES <= free), found[-1])


def _lanes(wanted: Wanted, room: int) -> int:
    """At least one: a batch without room is split in halves."""
    fitting = max(room - WORKSPACE_BYTES, 0) // step_bytes(wanted, 1)
    return max(min(wanted.lanes, fitting), 1)


def _pristine(sizes: Sizes, wanted: Wanted, mode: Mode, ledger: int) -> tuple[int, int]:
    """The bytes of pristine copies, and how many of them on the device; copies of coarse weights only if asked for."""
    if wanted.weights != "native":
        originals = (sizes.unet_blocks + sizes.text_blocks) * wanted.number_bytes
        return originals, originals if wanted.pristine == "device" and mode != "low" else 0
    copies = sizes.blendable * wanted.number_bytes
    if mode == "low" or wanted.pristine == "host":
        return copies, 0
    return copies, copies if wanted.pristine == "device" else _near(copies, ledger)


def _near(copies: int, ledger: int) -> int:
    """Copies are read at every switch, LoRAs at some: copies have priority, as long as enough LoRAs stay warm."""
    beside_loras = max(ledger - WARM_LORAS * LORA_BYTES, 0)
    return copies if copies <= beside_loras else min(beside_loras, int(ledger * PRISTINE_SHARE))
