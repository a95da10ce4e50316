"""Lists what keys used, day by day: for operators."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.asks.usage import USAGE_QUERY, UsageAsk, usage_id
from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.replies.usage import UsageList, usage_list
from sdxl_gateway.api.services import Services

LIST_USAGE = Description("listUsage", {200: Reply("A page of usage.", UsageList)}, errors=(400, 507), query=USAGE_QUERY)


def list_endpoint(services: Services) -> Endpoint:
    """GET: a page, the newest day first; of one tenant or one key if that is asked."""

    async def list_usage(request: Request) -> Response:
        asked = UsageAsk.of(request)
        found = await services.usage.page_everywhere(asked.limit + 1, asked.after, asked.tenant, asked.key_id)
        page = [(usage_id(key), key, used) for key, used in found.rows[: asked.limit]]
        return JSONResponse(usage_list(page, found.missing, has_more=len(found.rows) > asked.limit))

    return list_usage
