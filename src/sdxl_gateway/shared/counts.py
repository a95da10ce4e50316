"""Sums a count over all gateways, where each reports its own."""

from __future__ import annotations

from sdxl_gateway.shared.link import Link

SUM = """
-- One holder's counts: a hash of gateway -> "count end". ARGV: the gateway, its count, the limit, lease in ms.
-- Returns the sum; the count is only stored if the sum is within the limit, so that a limit of -1 only reads.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local sum = tonumber(ARGV[2])
local held = redis.call('HGETALL', KEYS[1])
for i = 1, #held, 2 do
    local count, ends = string.match(held[i + 1], '(%d+) (%d+)')
    if held[i] ~= ARGV[1] and tonumber(ends) > now then sum = sum + count end
end
if sum <= tonumber(ARGV[3]) then
    redis.call('HSET', KEYS[1], ARGV[1], string.format('%d %.0f', ARGV[2], now + ARGV[4]))
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return sum
"""
ANY = 2**53
"""The limit with which a count is always stored."""
NONE = -1
"""The limit with which no count is stored, and the sum only read."""


class Counts:
    """The counts of one `kind`; each gateway's expires after `kept_seconds`."""

    def __init__(self, link: Link, kind: str, gateway_id: str, kept_seconds: float) -> None:
        self._link = link
        self._kind = kind
        self._id = gateway_id
        self._kept_ms = int(kept_seconds * 1000)
        self._sum = link.redis.register_script(SUM)

    async def sum(self, holder: str, mine: int, most: int) -> int:
        """The sum of all gateways' counts, of which this one's is `mine` (to be called by Link.ask); `mine` is stored
        too, unless the sum is above `most`."""
        asked = self._id, mine, most, self._kept_ms
        return int(await self._sum([self._link.key(self._kind, holder)], asked))
