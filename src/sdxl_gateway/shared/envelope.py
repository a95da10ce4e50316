"""Seals and signs JSON values for Redis, and opens those that a gateway of this fleet wrote."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
from typing import Any

from sdxl_gateway.core.errors import EngineFault
from sdxl_gateway.storage.seal import Seal

log = logging.getLogger(__name__)

MAC_BYTES = 32


class Foreign(Exception):
    """No gateway wrote the value under this name, or it is sealed with a key that this gateway does not have."""


class Envelope:
    """Signs with the pepper that all gateways share, and encrypts with `seal`; a value is valid under its name only."""

    def __init__(self, pepper: bytes, seal: Seal) -> None:
        self._pepper = pepper
        self._seal = seal

    def closed(self, name: str, value: Any) -> bytes:
        """The value, sealed and signed for Redis."""
        written = self._seal.sealed(json.dumps(value)).encode()
        return self._mac(name, written) + written

    def opened(self, name: str, closed: bytes) -> Any:
        """The value that was given to `closed`. Raises Foreign."""
        mac, written = closed[:MAC_BYTES], closed[MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(name, written)):
            log.error("redis: what stands under %s is of another auth.pepper, and is left alone", name)
            raise Foreign
        try:
            return json.loads(self._seal.plain(written.decode()))
        except (EngineFault, ValueError) as problem:
            log.error("redis: what stands under %s is sealed with a key that this gateway has not", name)
            raise Foreign from problem

    def read(self, name: str, closed: bytes | None) -> Any:
        """As `opened`; None if there is no value, or no gateway of this fleet wrote it."""
        try:
            return None if closed is None else self.opened(name, closed)
        except Foreign:
            return None

    async def closed_bytes(self, name: str, data: bytes) -> bytes:
        """As `closed`, for bytes; runs on a thread, as they may be large."""
        return await asyncio.to_thread(lambda: self.closed(name, base64.b64encode(data).decode()))

    def read_bytes(self, name: str, closed: bytes | None) -> bytes | None:
        """As `read`, for what `closed_bytes` returned."""
        text = self.read(name, closed)
        return None if text is None else base64.b64decode(text)

    def _mac(self, name: str, written: bytes) -> bytes:
        return hmac.digest(self._pepper, f"gateways\0{name}\0".encode() + written, "sha256")
