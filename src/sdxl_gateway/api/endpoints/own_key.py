"""Shows callers what their key is valid for."""

from __future__ import annotations

from typing import Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from sdxl_gateway.api.endpoints.seen import caller_of
from sdxl_gateway.api.http.route import Description, Reply


class OwnKey(TypedDict):
    """What may be done; `models` and `loras` are globs of the names that are there for this key."""

    object: Literal["key"]
    tenant: str
    roles: list[str]
    models: list[str]
    loras: list[str]


GET_OWN_KEY = Description("getOwnKey", {200: Reply("What the key permits.", OwnKey)})


async def own_key(request: Request) -> Response:
    """GET: the caller's key; without one, what anybody may do."""
    caller = caller_of(request)
    told: OwnKey = {
        "object": "key",
        "tenant": caller.tenant,
        "roles": sorted(caller.roles),
        "models": list(caller.models),
        "loras": list(caller.loras),
    }
    return JSONResponse(told)
