"""Decodes uploads in processes of their own, with a limit of pixels at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from copy import copy
from functools import partial
from typing import ParamSpec, TypeVar

from PIL import Image

from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Ask, Operation, Upload
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.picture import NO_PADDING, Padding, Size
from sdxl_gateway.core.threads import finished
from sdxl_gateway.decoding.budget import PixelBudget
from sdxl_gateway.decoding.pool import Decoders
from sdxl_gateway.pictures.decode import Decoded
from sdxl_gateway.pictures.outpaint import padded
from sdxl_gateway.pictures.written import Written

LARGEST_AT_ONCE = 2
THREADS = 2
P = ParamSpec("P")
T = TypeVar("T")


class Uploads:
    """Uploads are decoded within a `turn`, as they may take hundreds of megabytes until they are resized."""

    def __init__(self, limits: Limits, decoders: Decoders) -> None:
        self._limits = limits
        self._decoders = decoders
        self._budget = PixelBudget(LARGEST_AT_ONCE * limits.max_input_pixels)
        self._threads = ThreadPoolExecutor(THREADS, "uploads")

    def with_limits(self, limits: Limits) -> Uploads:
        """The same with other limits; both use the same processes, and are counted together."""
        other = copy(self)
        other._limits = limits
        return other

    @asynccontextmanager
    async def turn(self, ask: Ask) -> AsyncIterator[None]:
        """Waits until all its uploads have room among the pixels in flight; at once for an ask without any.

        For all at once: two asks that each held one picture and waited for room for another would wait for ever.
        Raises InvalidImage for an upload that cannot even be measured.
        """
        pixels = sum([await self._decoders.measure(upload) for upload in ask.uploads])
        async with self._budget.taken(pixels):
            yield

    async def edited(self, ask: Ask) -> Decoded | None:
        """The picture that an edit or a variation starts from. Raises InvalidImage naming the field."""
        if not ask.images:
            return None
        decoded = await self._decoded(ask.images[0], ask.mask, holes=ask.operation is not Operation.VARY)
        if ask.padding == NO_PADDING:
            return decoded
        self._check_room(decoded, ask.padding)
        return await self.off_the_loop(padded, decoded, ask.padding)

    async def _decoded(self, image: Upload, mask: Upload | None, *, holes: bool) -> Decoded:
        """A variation repaints everything, and with a mask the picture's own transparency is ignored."""
        if mask is None and holes:
            return await self._decoders.with_holes(image)
        picture = await self.picture(image)
        return Decoded(picture, None if mask is None else await self._decoders.mask(mask, Size(*picture.size)))

    def _check_room(self, decoded: Decoded, padding: Padding) -> None:
        size, most = padding.around(Size(*decoded.image.size)), self._limits.max_pixels
        if size.width * size.height > most:
            message = f"Invalid 'padding': a picture of {size} is above this server's limit of {most} pixels."
            raise InvalidRequest(message, param="padding")

    async def picture(self, upload: Upload) -> Image.Image:
        """Any other picture of a request, in RGB. Raises InvalidImage naming the field."""
        return await self._decoders.picture(upload)

    async def written(self, upload: Upload) -> Written | None:
        """What its file says about how the picture was made. Raises InvalidImage naming the field."""
        return await self._decoders.written(upload)

    async def off_the_loop(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """The result of `work`, from a thread for work on decoded uploads."""
        return await finished(self._threads.submit(partial(work, *args, **named)))
