"""How prompts and uploads are kept: as they are, unless there is a key (storage/sealed.py)."""

from __future__ import annotations

from sdxl_gateway.storage.blobs import Blobs


class Seal:
    """Keeps what it is given as it is; `AesSeal` does not. What both are asked for is asked for through this."""

    def sealed(self, text: str) -> str:
        """What is to stand in a column instead of a text; the text is JSON."""
        return text

    def plain(self, kept: str) -> str:
        """The text that `sealed` was given, also where it was kept before there was a key. Raises Unreadable."""
        return kept

    def over(self, blobs: Blobs) -> Blobs:
        """Blobs kept likewise; what lies in `blobs` themselves is for nobody else to read then."""
        return blobs
