"""Answers wrong keys: 401, or 429 for an address that tries many."""

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
    """So many wrong keys a minute get 401; 0 means no limit. Right keys are not affected."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        # When an address will be as if it had sent none; the earliest first.
        self._clean_at: OrderedDict[str, float] = OrderedDict()

    async def on_unauthenticated(self, request: Request, error: Exception) -> Response:
        """Starlette's handler for Unauthenticated; a request without any key always gets 401."""
        address = request.client.host if request.client else ""
        if self._per_minute and offered_keys(request.scope) and (wait := self.wait_seconds(address)):
            error = Busy("Too many wrong API keys came from your address.", retry_after_seconds=wait)
        return await on_gateway_error(request, error)

    def wait_seconds(self, address: str) -> float:
        """Count one more wrong key; 0.0, or how long the address should send none."""
        now, address = self._clock(), counted_as(address)
        each = _MINUTE_SECONDS / self._per_minute
        clean_at = max(self._clean_at.pop(address, now), now) + each
        over = clean_at - now - _MINUTE_SECONDS
        self._clean_at[address] = clean_at if over <= 0 else clean_at - each
        if len(self._clean_at) > MAX_ADDRESSES:
            self._clean_at.popitem(last=False)
        return max(over, 0.0)
