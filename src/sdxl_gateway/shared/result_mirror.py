"""What a gateway is asked of what all painted, and is told; knows nothing of redis."""

from __future__ import annotations

from typing import Protocol

from sdxl_gateway.delivery.results import Results


class ResultMirror(Protocol):
    """Carries what was painted from each gateway to the others, as long as there is room for it."""

    def tell(self, key: str, results: Results, seconds: float) -> None:
        """For so long anybody may find them; in a moment, or not at all. They may be too large."""
        ...

    async def find(self, key: str, tenant: str) -> Results | None:
        """What any gateway painted under that key of the tenant's; None also where nobody can be asked."""
        ...

    async def erase(self, tenant: str) -> None:
        """Nobody finds any of the tenant's. Raises Unavailable."""
        ...

    async def forget_before(self, unix_seconds: float) -> None:
        """What was told before takes no room, where it does not go by itself."""
        ...
