"""Takes refusals of wrong keys, gives their answers: 401, and 429 for an address that offers one after another."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from sdxl_gateway.api.http.addresses import counted_as
from sdxl_gateway.api.http.credentials import offered_keys
from sdxl_gateway.api.http.errors import on_gateway_error
from sdxl_gateway.core.errors import Busy

MAX_ADDRESSES = 4096
_MINUTE_SECONDS = 60.0


class WrongKeys:
    """So many a minute are answered as what they are; 0 is no limit. A right key is never asked about here."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        # When an address will be as if it had offered none; the longest quiet first.
        self._clean_at: OrderedDict[str, float] = OrderedDict()

    async def on_unauthenticated(self, request: Request, error: Exception) -> Response:
        """Starlette's handler for Unauthenticated; who offers no key at all is told so each time."""
        address = request.client.host if request.client else ""
        if self._per_minute and offered_keys(request.scope) and (wait := self.wait_seconds(address)):
            error = Busy("Too many wrong API keys came from your address.", retry_after_seconds=wait)
        return await on_gateway_error(request, error)

    def wait_seconds(self, address: str) -> float:
        """Notes one more wrong key; 0.0, or how long none should come from there."""
        now, address = self._clock(), counted_as(address)
        each = _MINUTE_SECONDS / self._per_minute
        clean_at = max(self._clean_at.pop(address, now), now) + each
        over = clean_at - now - _MINUTE_SECONDS
        self._clean_at[address] = clean_at if over <= 0 else clean_at - each
        if len(self._clean_at) > MAX_ADDRESSES:
            self._clean_at.popitem(last=False)
        return max(over, 0.0)
