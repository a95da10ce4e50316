"""The places where a server with a bucket stores blobs and pictures."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sdxl_gateway.core.ports import Addresses
from sdxl_gateway.s3.addresses import SignedByBucket
from sdxl_gateway.s3.blobs import BucketBlobs
from sdxl_gateway.s3.bucket import Bucket
from sdxl_gateway.s3.objects import BucketObjects
from sdxl_gateway.s3.pictures import BucketPictures
from sdxl_gateway.storage.blobs import Blobs
from sdxl_gateway.storage.objects import Objects
from sdxl_gateway.storage.picture_folder import PictureFiles
from sdxl_gateway.storage.secret_file import secret_of

NODE_FILE = "node"
NODE_CHARS = 16


class BucketPlaces:
    """Blobs are in `<kind>/<node>/`, as only this server's database has their ids; pictures belong to all servers."""

    def __init__(self, bucket: Bucket, home: Path, *, presign: bool) -> None:
        self._bucket = bucket
        self._home = home
        self._presign = presign
        self._node = hashlib.sha256(secret_of(None, home / NODE_FILE)).hexdigest()[:NODE_CHARS]

    def blobs(self, kind: str) -> Blobs:
        """As Places."""
        return BucketBlobs(self._bucket, f"{kind}/{self._node}", self._home / "blobs" / kind)

    def pictures(self) -> PictureFiles:
        """As Places."""
        return BucketPictures(self._bucket)

    def shared(self, kind: str) -> Objects:
        """As Places."""
        return BucketObjects(self._bucket, kind)

    def addresses(self, own: Addresses) -> Addresses:
        """The bucket's own presigned addresses, if `presign` is set."""
        return SignedByBucket(self._bucket) if self._presign else own
