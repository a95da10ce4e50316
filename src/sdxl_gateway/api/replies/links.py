"""Signed URLs of stored pictures, which work for a while without a key."""

from __future__ import annotations

from dataclasses import dataclass

from sdxl_gateway.core.ports import Addresses, StoredImage


@dataclass(frozen=True, slots=True)
class Links:
    """Signs URLs, this server's own under `base_url`; each is valid for `seconds` after it is signed."""

    base_url: str
    addresses: Addresses
    seconds: float

    def to(self, image: StoredImage) -> str:
        """A newly signed URL of the picture."""
        return self.addresses.address(image, self.base_url, self.seconds)
