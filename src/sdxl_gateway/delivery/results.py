"""The pictures of one request as they left, for whoever asks for the very same."""

from __future__ import annotations

from dataclasses import dataclass

from sdxl_gateway.delivery.deliver import Encoded


@dataclass(frozen=True, slots=True)
class Results:
    """All pictures of one request of a tenant, and what its caller was told of them; `at` is unix seconds."""

    tenant: str
    pictures: tuple[Encoded, ...]
    warnings: tuple[str, ...]
    at: float

    @property
    def size_bytes(self) -> int:
        """What the pictures take."""
        return sum(len(picture.data) for picture in self.pictures)
