"""Results: the finished pictures of a request, for the cache of results."""

from __future__ import annotations

from dataclasses import dataclass

from sdxl_gateway.delivery.deliver import Encoded


@dataclass(frozen=True, slots=True)
class Results:
    """All pictures of a tenant's request, and warnings; `at` is when they were painted, in unix seconds."""

    tenant: str
    pictures: tuple[Encoded, ...]
    warnings: tuple[str, ...]
    at: float

    @property
    def size_bytes(self) -> int:
        """The bytes of all pictures."""
        return sum(len(picture.data) for picture in self.pictures)
