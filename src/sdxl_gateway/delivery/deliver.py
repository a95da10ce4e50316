"""Takes pictures as an engine painted them, gives them as they leave; every pixel leaves by this door, previews too."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from sdxl_gateway import __version__
from sdxl_gateway.core.events import Painted, Previewed
from sdxl_gateway.core.picture import KeptRegion, Picture, Size
from sdxl_gateway.core.ports import ImageStore
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.delivery.receipt import receipt
from sdxl_gateway.pictures.encode import encode
from sdxl_gateway.pictures.finish import finish
from sdxl_gateway.pictures.infotext import infotext


@dataclass(frozen=True, slots=True)
class Presented:
    """A picture ready to leave: encoded bytes, the name it is kept under if it is, and how to make it again."""

    index: int
    data: bytes
    file_name: str | None
    seed: int
    recipe: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Partial:
    """An encoded look at the running picture."""

    partial_index: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Output:
    """How the pictures of one request leave; `kept` is what an inpaint must not change, `keep` stores each picture.

    `output_format` is "png", "jpeg" or "webp"; `compression` (0..100) is the quality of the latter two.
    """

    recipe: Recipe
    kept: KeptRegion | None
    output_format: str
    compression: int
    keep: bool

    @property
    def size(self) -> Size:
        """What the caller gets, in pixels."""
        return Size(self.recipe.width, self.recipe.height)


class Deliverer:
    """Finishes, encodes and keeps pictures; with `embed_recipe` each says inside how it was made."""

    def __init__(self, images: ImageStore, *, embed_recipe: bool) -> None:
        self._images = images
        self._embed_recipe = embed_recipe

    async def preview(self, event: Previewed, output: Output) -> Partial:
        """The look as it leaves: nothing is kept of it and nothing written inside."""
        return Partial(event.partial_index, await asyncio.to_thread(_encoded, event.picture, output))

    async def deliver(self, event: Painted, output: Output) -> Presented:
        """The picture as it leaves, kept if that is asked for. Raises what the store raises when it cannot keep it."""
        text = infotext(output.recipe, seed=event.seed, version=__version__) if self._embed_recipe else None
        data = await asyncio.to_thread(_encoded, event.picture, output, text)
        name = await self._kept(data, output.output_format) if output.keep else None
        return Presented(
            event.index, data, name, event.seed, receipt(output.recipe, seed=event.seed, version=__version__)
        )

    async def _kept(self, data: bytes, output_format: str) -> str:
        stored = await asyncio.to_thread(self._images.put, data, output_format)
        return stored.file_name


def _encoded(picture: Picture, output: Output, recipe_text: str | None = None) -> bytes:
    """The door itself: what an inpaint keeps is kept in previews too."""
    image = finish(picture, output.size, output.kept)
    return encode(image, output.output_format, compression=output.compression, recipe_text=recipe_text)
