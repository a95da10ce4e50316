"""Takes a kept picture, gives the address at which anybody who has it sees the picture for a while."""

from __future__ import annotations

from dataclasses import dataclass

from sdxl_gateway.core.ports import Addresses, StoredImage


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses, those of this server below `base_url`, each good for `seconds` from when it is told."""

    base_url: str
    addresses: Addresses
    seconds: float

    def to(self, image: StoredImage) -> str:
        """The picture's address, signed anew."""
        return self.addresses.address(image, self.base_url, self.seconds)
