"""Takes the metrics callable, gives the route a scraper reads."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from sdxl_gateway.api.endpoints.images import Endpoint
from sdxl_gateway.api.services import Services


def metrics_endpoint(services: Services) -> Endpoint:
    async def metrics(request: Request) -> Response:
        body, content_type = services.metrics(request.headers.get("accept", ""))
        # Set as a header: as a media type the framework would add a second charset.
        return Response(body, headers={"content-type": content_type})

    return metrics
