"""Chooses the net that upscales a picture, by the size it is asked for and the size it is painted in."""

from __future__ import annotations

from collections.abc import Mapping

from sdxl_gateway.admission.framing import Framed
from sdxl_gateway.admission.sizes import Sizes
from sdxl_gateway.catalog.upscalers import UpscalerEntry
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.picture import Box
from sdxl_gateway.core.recipe import LANCZOS, Task
from sdxl_gateway.core.text import shown

WORTH_A_NET = 1.25
"""The least ratio of a returned side to a painted one for which a net is used."""


class Upscaling:
    """The configured upscalers, of which the first is the default."""

    def __init__(self, entries: Mapping[str, UpscalerEntry], max_pixels: int) -> None:
        self._entries = entries
        self._max_pixels = max_pixels

    def with_max_pixels(self, max_pixels: int) -> Upscaling:
        """The same with another limit of the returned size."""
        return Upscaling(self._entries, max_pixels)

    def sizes(self, ask: Ask, sizes: Sizes, task: Task) -> Sizes:
        """The sizes with those that `upscale` asks for. Raises InvalidRequest naming the field."""
        if ask.upscale == 1:
            return sizes
        if not self._entries:
            reason = "No upscaler is configured: each is an [upscalers.NAME] section of the server's config.toml."
            raise InvalidRequest(reason, param="upscale")
        if task is Task.INPAINT:
            reason = "What a mask keeps is handed out as it came; upscale the finished picture in another request."
            raise InvalidRequest(reason, param="upscale")
        width, height = sizes.width * ask.upscale, sizes.height * ask.upscale
        if width * height > self._max_pixels:
            reason = f"A picture of {width}x{height} is above this server's limit of {self._max_pixels} pixels."
            raise InvalidRequest(f"Invalid 'upscale': {reason}", param="upscale")
        return Sizes(width, height, sizes.paint_width, sizes.paint_height)

    def chosen(self, ask: Ask, frame: Framed) -> UpscalerEntry | None:
        """The net; None if a picture is returned about as it is painted, or only resized. Raises InvalidRequest."""
        named = self._named(ask.upscaler)
        box = frame.kept.box if frame.kept is not None and frame.kept.box is not None else None
        target = box or Box(0, 0, frame.sizes.width, frame.sizes.height)
        return named if target.width >= WORTH_A_NET * frame.sizes.paint_width else None

    def detail(self, ask: Ask, frame: Framed, upscaler: UpscalerEntry | None) -> float:
        """How far the enlarged picture is painted over: as asked, else as the upscaler's section says.

        Raises InvalidRequest where that was asked for and there is nothing to paint over.
        """
        masked = frame.kept is not None
        if ask.detail is None:
            return 0.0 if masked or upscaler is None else upscaler.detail
        if ask.detail and masked:
            reason = "What a mask keeps is handed out as it came; paint over the finished picture in another request."
            raise InvalidRequest(reason, param="detail")
        sizes = frame.sizes
        if ask.detail and sizes.width < WORTH_A_NET * sizes.paint_width:
            reason = f"A picture of {sizes.width}x{sizes.height} is painted at that size; 'upscale' makes it larger."
            raise InvalidRequest(f"Invalid 'detail': {reason}", param="detail")
        return ask.detail

    def _named(self, name: str | None) -> UpscalerEntry | None:
        if name is None:
            return next(iter(self._entries.values()), None)
        if name.lower() == LANCZOS:
            return None
        found = next((entry for known, entry in self._entries.items() if known.lower() == name.lower()), None)
        if found is None:
            known = ", ".join(f"'{one}'" for one in (*self._entries, LANCZOS))
            message = f"There is no upscaler {shown(name)}. Supported values are: {known}."
            raise InvalidRequest(message, param="upscaler", code="upscaler_not_found")
        return found
