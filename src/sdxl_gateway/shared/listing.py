"""Reads a sorted set of ids by age, one page at a time."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from sdxl_gateway.shared.link import digest_of
from sdxl_gateway.storage.pages import Cut

LISTED_AT_ONCE = 200


def list_of(tenant: str | None) -> str:
    """The name of the list of a tenant's things, or of everybody's."""
    return "*" if tenant is None else digest_of(tenant)


async def ids_behind(redis: Redis, listed: str, cut: Cut, skip: int) -> list[str]:
    """At most LISTED_AT_ONCE ids in the order of the cut, without the first `skip`; may start before the cut's place,
    in the same second."""
    since = None if cut.behind is None else cut.behind[0]
    found: Any
    if cut.newest_first:
        first = "+inf" if since is None else since
        found = await redis.zrevrangebyscore(listed, first, "-inf", start=skip, num=LISTED_AT_ONCE)
    else:
        first = "-inf" if since is None else since
        found = await redis.zrangebyscore(listed, first, "+inf", start=skip, num=LISTED_AT_ONCE)
    return [one.decode() for one in found]
