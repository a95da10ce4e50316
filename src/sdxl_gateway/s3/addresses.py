"""Takes a kept picture, gives an address that the bucket itself serves it from, for a while."""

from __future__ import annotations

import time
from collections.abc import Callable

from sdxl_gateway.core.ports import StoredImage
from sdxl_gateway.s3.bucket import Bucket
from sdxl_gateway.s3.pictures import key_of


class SignedByBucket:
    """Addresses that need this server no more."""

    def __init__(self, bucket: Bucket, clock: Callable[[], float] = time.time) -> None:
        self._bucket = bucket
        self._clock = clock

    def address(self, image: StoredImage, base_url: str, seconds: float) -> str:
        """As Addresses; for a week at most, and never longer than the picture is kept."""
        return self._bucket.sign(key_of(image), min(seconds, image.expires - self._clock()))
