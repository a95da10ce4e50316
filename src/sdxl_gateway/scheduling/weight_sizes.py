"""The sizes of a checkpoint's weights: how many numbers they hold, and their bytes in each format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

Mode = Literal["fast", "balanced", "low"]
WeightFormat = Literal["native", "fp8", "int8"]
ProductFormat = Literal["native", "fp8"]
Shape = tuple[int, ...]

VAE_NUMBERS = 83_653_863
"""The numbers in the VAE, the same for every SDXL checkpoint."""
FP8_LAYERS = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn2.to_q", "ff.net.0.proj", "ff.net.2")
"""The layers of a UNet's transformers that may multiply in 8 bits: 86 % of the work of all linear layers.

The others are too sensitive for their gain (figures in docs/decisions/GPU.md), or read texts, which are short.
"""
FP8_SIDE = 16
"""The divisor that both sides of a weight must have for a GPU to multiply it in 8 bits."""


@dataclass(frozen=True, slots=True)
class Formats:
    """The formats of weights in general, and of layers that multiply in a format of their own."""

    weights: WeightFormat = "native"
    products: ProductFormat = "native"


NATIVE = Formats()


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many numbers a checkpoint's components hold.

    `unet_blocks` and `text_blocks` are those that a coarser format applies to, `unet_products` those of layers that may
    multiply in fp8, `blendable` those that a typical LoRA changes.
    """

    unet: int
    unet_blocks: int
    text: int
    text_blocks: int
    vae: int
    blendable: int
    unet_products: int = 0


def multiplies_in_fp8(name: str, shape: Shape) -> bool:
    """Whether a UNet's layer of that name and shape may multiply in fp8."""
    return name.endswith(FP8_LAYERS) and len(shape) == 2 and not any(side % FP8_SIDE for side in shape)


def sizes_of(shapes: Mapping[str, Shape]) -> Sizes:
    """The sizes, from the shape of each module's weight in the UNet and text encoders, by component-prefixed names."""

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
        unet_products=numbers(lambda name: is_unet(name) and multiplies_in_fp8(name, shapes[name])),
    )


def resident_bytes(sizes: Sizes, mode: Mode, formats: Formats, number_bytes: int, vae_number_bytes: int) -> int:
    """The bytes of weights that are on the device permanently."""
    coarse = formats.weights != "native"
    unet = _stored(sizes.unet, sizes.unet_blocks if coarse else _products(sizes, formats), number_bytes)
    text = _stored(sizes.text, sizes.text_blocks if coarse else 0, number_bytes)
    return {"fast": unet + text + sizes.vae * vae_number_bytes, "balanced": unet, "low": 0}[mode]


def counted_bytes(sizes: Sizes, mode: Mode, formats: Formats, number_bytes: int) -> int:
    """The bytes that the ledger counts for a checkpoint: those on the device.

    If there are none, those in host memory, so that checkpoints make room for each other there too.
    """
    return resident_bytes(sizes, "fast" if mode == "low" else mode, formats, number_bytes, number_bytes)


def _products(sizes: Sizes, formats: Formats) -> int:
    return sizes.unet_products if formats.products == "fp8" else 0


def _stored(numbers: int, in_one_byte: int, number_bytes: int) -> int:
    return in_one_byte + (numbers - in_one_byte) * number_bytes
