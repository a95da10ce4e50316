"""Stores encoded pictures as objects whose keys and attributes contain their expiry and owner."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote

from sdxl_gateway.core.ports import StoredImage
from sdxl_gateway.s3.bucket import Bucket, Entry
from sdxl_gateway.storage.picture_folder import EXTENSIONS, ID_BYTES

FOLDER = "images"
_ID = re.compile(rf"[0-9a-f]{{{2 * ID_BYTES}}}")
_KEY = re.compile(rf"{FOLDER}/({_ID.pattern})/([0-9]{{1,12}})\.({'|'.join(EXTENSIONS)})")


class BucketPictures:
    """PictureFiles as objects `images/<id>/<unix second of expiry>.<ext>`, which any server of the bucket finds.

    No picture is left over before it expires, because its row may be in another server's database.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def write(self, stored: StoredImage, data: bytes) -> None:
        """As PictureFiles."""
        told = {"Content-Type": f"image/{stored.ext}", "Cache-Control": "private", "tenant": quote(stored.tenant)}
        self._bucket.put(key_of(stored), data, told)

    def read(self, stored: StoredImage) -> bytes:
        """As PictureFiles."""
        return self._bucket.read(key_of(stored))

    def find(self, image_id: str) -> StoredImage | None:
        """As PictureFiles."""
        if not _ID.fullmatch(image_id):
            return None
        for entry in self._bucket.entries(f"{FOLDER}/{image_id}"):
            if found := _KEY.fullmatch(entry.key):
                return self._told(found, entry)
        return None

    def delete(self, pictures: Iterable[StoredImage]) -> None:
        """As PictureFiles."""
        self._bucket.delete(*map(key_of, pictures))

    def left_over(self, now: float) -> Iterator[tuple[str, str]]:
        """As PictureFiles: those that have expired, whichever server stored them."""
        for entry in self._bucket.entries(FOLDER):
            found = _KEY.fullmatch(entry.key)
            if found and int(found[2]) <= now:
                yield f"{found[1]}.{found[3]}", entry.key

    def remove(self, name: str) -> None:
        """As PictureFiles."""
        self._bucket.delete(name)

    def _told(self, key: re.Match[str], entry: Entry) -> StoredImage:
        tenant = unquote(self._bucket.attributes(entry.key).get("tenant", ""))
        return StoredImage(key[1], key[3], tenant, entry.size_bytes, entry.changed, float(key[2]))


def key_of(stored: StoredImage) -> str:
    """The key of the picture's object."""
    return f"{FOLDER}/{stored.id}/{math.ceil(stored.expires)}.{stored.ext}"
