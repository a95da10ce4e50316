"""Addresses of kept pictures that the bucket itself serves."""

from __future__ import annotations

import time
from collections.abc import Callable

from sdxl_gateway.core.ports import StoredImage
from sdxl_gateway.s3.bucket import Bucket
from sdxl_gateway.s3.pictures import key_of


class SignedByBucket:
    """Presigned addresses, which do not involve this server."""

    def __init__(self, bucket: Bucket, clock: Callable[[], float] = time.time) -> None:
        self._bucket = bucket
        self._clock = clock

    def address(self, image: StoredImage, base_url: str, seconds: float) -> str:
        """As Addresses; valid for a week at most, and never longer than the picture is kept."""
        return self._bucket.sign(key_of(image), min(seconds, image.expires - self._clock()))
