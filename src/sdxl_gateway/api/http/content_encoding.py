"""Expands compressed bodies, in pieces of bounded size and up to a limit in total."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterator

from sdxl_gateway.core.errors import BodyTooLarge, InvalidRequest, UnsupportedMedia
from sdxl_gateway.core.text import shown

PIECE_BYTES = 64 * 1024
_GZIP_BITS = 16 + zlib.MAX_WBITS


def expanded(chunks: AsyncIterator[bytes], encoding: str, max_bytes: int) -> AsyncIterator[bytes]:
    """The body, expanded by its content-encoding header. Raises UnsupportedMedia for any but gzip and deflate.

    The iterator raises BodyTooLarge above `max_bytes`, and InvalidRequest for data that is invalid or cut short.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return chunks
        case "gzip" | "x-gzip" | "deflate" as known:
            return _expand(chunks, known.removeprefix("x-"), max_bytes)
    raise UnsupportedMedia(f"Unsupported content encoding {shown(encoding)}. Send gzip, deflate, or the body as it is.")


async def _expand(chunks: AsyncIterator[bytes], encoding: str, max_bytes: int) -> AsyncIterator[bytes]:
    inflate, size = _Inflate(encoding), 0
    async for chunk in chunks:
        for piece in inflate.pieces(chunk):
            size += len(piece)
            if size > max_bytes:
                raise BodyTooLarge(f"The request body is larger than {max_bytes} bytes, expanded.")
            yield piece
    inflate.check_whole()


class _Inflate:
    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._inflating = zlib.decompressobj(_GZIP_BITS) if encoding == "gzip" else None

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """The chunk, expanded. Raises InvalidRequest."""
        left = chunk
        try:
            while left and not (self._inflating and self._inflating.eof):
                inflating = self._begun(left)
                yield inflating.decompress(left, PIECE_BYTES)
                left = inflating.unconsumed_tail
        except zlib.error:
            raise self._broken() from None
        if left or (self._inflating and self._inflating.unused_data):
            raise self._broken()

    def check_whole(self) -> None:
        """Raises InvalidRequest when the end is missing."""
        if self._inflating is None or not self._inflating.eof:
            raise self._broken()

    def _begun(self, data: bytes) -> zlib._Decompress:
        """Deflate has a zlib header, as it should, or none, as some clients send it."""
        if self._inflating is None:
            self._inflating = zlib.decompressobj(zlib.MAX_WBITS if data[0] & 15 == 8 else -zlib.MAX_WBITS)
        return self._inflating

    def _broken(self) -> InvalidRequest:
        return InvalidRequest(f"The body is not whole {self._encoding}.", code="invalid_encoding")
