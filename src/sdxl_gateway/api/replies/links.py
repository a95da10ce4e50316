"""Takes a kept picture, gives the address at which anybody who has it sees the picture for a while."""

from __future__ import annotations

from dataclasses import dataclass

from sdxl_gateway.core.ports import StoredImage
from sdxl_gateway.delivery.signing import Signer


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses below `base_url`, each good for `seconds` from when it is told."""

    base_url: str
    signer: Signer
    seconds: float

    def to(self, image: StoredImage) -> str:
        """The picture's address, signed anew."""
        return f"{self.base_url.rstrip('/')}/files/{image.file_name}?{self.signer.query(image, self.seconds)}"
