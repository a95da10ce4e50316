"""Takes uploads, gives their pixels: decoded off the event loop, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import replace
from functools import partial
from typing import ParamSpec, TypeVar

from PIL import Image

from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Ask, Operation, Upload
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.picture import NO_PADDING, Padding, Size
from sdxl_gateway.pictures.decode import Decoded, decode, decode_picture
from sdxl_gateway.pictures.outpaint import padded
from sdxl_gateway.pictures.written import Written, read_written

AT_ONCE = 2
P = ParamSpec("P")
T = TypeVar("T")


class Uploads:
    """Decoded within a `turn`: until it has its painting's size an upload may be hundreds of megabytes."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._turns = asyncio.Semaphore(AT_ONCE)
        # Of its own: a caller who leaves takes the permit along, but not the thread that is decoding.
        self._threads = ThreadPoolExecutor(AT_ONCE, "decoding")

    def under(self, limits: Limits) -> Uploads:
        """Uploads of at most so much, decoded by the same threads and in the same turns."""
        other = copy(self)
        other._limits = limits
        return other

    @asynccontextmanager
    async def turn(self, ask: Ask) -> AsyncIterator[None]:
        """Waits until few others hold decoded uploads; at once for an ask without any."""
        if not ask.uploads:
            yield
            return
        async with self._turns:
            yield

    async def edited(self, ask: Ask) -> Decoded | None:
        """What an edit or a variation starts from. Raises InvalidImage naming the field."""
        if not ask.images:
            return None
        decoded = await self.off_the_loop(decode, ask.images[0], ask.mask, self._limits)
        if ask.padding != NO_PADDING:
            self._check_room(decoded, ask.padding)
            decoded = await self.off_the_loop(padded, decoded, ask.padding)
        # A variation is a new picture all over: holes in its model mean nothing.
        return replace(decoded, mask=None) if ask.operation is Operation.VARY else decoded

    def _check_room(self, decoded: Decoded, padding: Padding) -> None:
        size, most = padding.around(Size(*decoded.image.size)), self._limits.max_pixels
        if size.width * size.height > most:
            message = f"Invalid 'padding': a picture of {size} is above this server's limit of {most} pixels."
            raise InvalidRequest(message, param="padding")

    async def picture(self, upload: Upload) -> Image.Image:
        """Any other picture of a request, RGB. Raises InvalidImage naming the field."""
        return await self.off_the_loop(decode_picture, upload, self._limits)

    async def written(self, upload: Upload) -> Written | None:
        """What its file says of how the picture was made. Raises InvalidImage naming the field."""
        return await self.off_the_loop(read_written, upload)

    async def off_the_loop(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """What `work` gives, from a thread that does nothing but work on uploads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args, **named))
