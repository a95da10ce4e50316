"""Keeps copies of the latest pictures in Redis, from which any gateway can serve them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple
from functools import partial
from typing import Any

from sdxl_gateway.core.errors import Gone
from sdxl_gateway.core.ports import StoredImage
from sdxl_gateway.shared.copies import Copies
from sdxl_gateway.shared.envelope import Envelope
from sdxl_gateway.shared.link import Link, SharedStateDown
from sdxl_gateway.storage.picture_folder import PictureFiles


class CopiedPictures:
    """PictureFiles that adds copies in Redis to `files`; a copy's signed head has its owner and expiry.

    Without Redis there are no copies. All methods block: call them from a thread other than the loop's.
    """

    def __init__(self, files: PictureFiles, link: Link, envelope: Envelope, copies: Copies) -> None:
        self._files = files
        self._link = link
        self._envelope = envelope
        self._copies = copies

    def write(self, stored: StoredImage, data: bytes) -> None:
        """As PictureFiles, and keep a copy if Redis takes it."""
        self._files.write(stored, data)
        seconds = stored.expires - stored.created
        if not self._copies.takes(len(data), seconds):
            return
        name = self._name(stored.id)
        head = self._envelope.closed(name, [*astuple(stored), hashlib.sha256(data).hexdigest()])
        with suppress(SharedStateDown):
            self._link.ask_from_thread(partial(self._copies.keep, name, head, data, seconds))

    def read(self, stored: StoredImage) -> bytes:
        """As PictureFiles."""
        try:
            return self._files.read(stored)
        except Gone:
            copy = self._copy(stored.id, "head", "bytes")
            if copy is None or hashlib.sha256(copy[1]).hexdigest() != copy[0][-1]:
                raise
            return bytes(copy[1])

    def find(self, image_id: str) -> StoredImage | None:
        """As PictureFiles."""
        found = self._files.find(image_id)
        if found is not None:
            return found
        copy = self._copy(image_id, "head")
        return None if copy is None else StoredImage(*copy[0][:-1])

    def delete(self, pictures: Iterable[StoredImage]) -> None:
        """As PictureFiles; while Redis is down, copies stay until they expire."""
        going = list(pictures)
        self._files.delete(going)
        if going:
            names = [self._name(stored.id) for stored in going]
            with suppress(SharedStateDown):
                self._link.ask_from_thread(partial(self._link.redis.delete, *names))

    def left_over(self, now: float) -> Iterator[tuple[str, str]]:
        """As PictureFiles."""
        return self._files.left_over(now)

    def remove(self, name: str) -> None:
        """As PictureFiles."""
        self._files.remove(name)

    def _copy(self, image_id: str, *fields: str) -> Sequence[Any] | None:
        """The copy's opened head, and the other fields asked for; None if there is none."""
        name = self._name(image_id)
        try:
            found: Sequence[Any] = self._link.ask_from_thread(partial(self._link.redis.hmget, name, *fields))
        except SharedStateDown:
            return None
        head, *more = found
        told = self._envelope.read(name, head)
        return None if told is None else [told, *more]

    def _name(self, image_id: str) -> str:
        return self._link.key("picture", image_id)
