"""How prompts and uploads are stored: in plain text, unless there is a key (storage/sealed.py)."""

from __future__ import annotations

from sdxl_gateway.storage.blobs import Blobs


class Seal:
    """The interface of encryption at rest; this one stores plain text, AesSeal encrypts."""

    def sealed(self, text: str) -> str:
        """What is stored in place of a text, which is JSON."""
        return text

    def plain(self, kept: str) -> str:
        """The text that `sealed` was given, or that was stored before there was a key. Raises Unreadable."""
        return kept

    def over(self, blobs: Blobs) -> Blobs:
        """A store that encrypts into `blobs`, which are then to be used through it alone."""
        return blobs
