"""The port through which gateways share the cache of results; knows nothing of Redis."""

from __future__ import annotations

from typing import Protocol

from sdxl_gateway.delivery.results import Results


class ResultMirror(Protocol):
    """Shares finished results among gateways, as far as there is room for them."""

    def tell(self, key: str, results: Results, seconds: float) -> None:
        """Share them for so many seconds: soon, or not at all where they are too large or nobody can be reached."""
        ...

    async def find(self, key: str, tenant: str) -> Results | None:
        """The tenant's results under that key, whichever gateway painted them; None also where none can be reached."""
        ...

    async def erase(self, tenant: str) -> None:
        """Remove all of the tenant's results. Raises Unavailable."""
        ...

    async def forget_before(self, unix_seconds: float) -> None:
        """Remove results that were shared before then, where they do not expire by themselves."""
        ...
