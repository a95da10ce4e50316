"""Signs the addresses of kept pictures at this server, and verifies them."""

from __future__ import annotations

import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from functools import cached_property
from urllib.parse import urlencode

from sdxl_gateway.core.errors import Gone, NotFound
from sdxl_gateway.core.ports import StoredImage

KEY_FILE = "url_key"


class Signer:
    """HMAC-SHA256 over a picture's name and its address's expiry; `find_key` is called once, when needed."""

    def __init__(self, find_key: Callable[[], bytes], clock: Callable[[], float] = time.time) -> None:
        self._find_key = find_key
        self._clock = clock

    @cached_property
    def _key(self) -> bytes:
        return self._find_key()

    def address(self, image: StoredImage, base_url: str, seconds: float) -> str:
        """As Addresses."""
        return f"{base_url.rstrip('/')}/files/{image.file_name}?{self.query(image, seconds)}"

    def query(self, image: StoredImage, seconds: float) -> str:
        """The query of an address that is valid for `seconds`, but no longer than the picture is kept."""
        expires = int(min(self._clock() + seconds, image.expires))
        return urlencode({"expires": expires, "signature": self._signature(image.file_name, str(expires))})

    def remaining_seconds(self, file_name: str, expires: str, signature: str) -> int:
        """How much longer the address is valid. Raises NotFound for a wrong signature, Gone for an expired address."""
        if not hmac.compare_digest(signature.encode(), self._signature(file_name, expires).encode()):
            raise NotFound("No such image.")
        remaining = int(expires) - self._clock()
        if remaining <= 0:
            raise Gone("This address has expired.")
        return int(remaining)

    def _signature(self, file_name: str, expires: str) -> str:
        digest = hmac.digest(self._key, f"{file_name}\n{expires}".encode(), "sha256")
        return urlsafe_b64encode(digest).rstrip(b"=").decode()
