"""The endpoint that scrapers read metrics from."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.services import Services

METRICS = Description(
    "metrics", {200: Reply("Prometheus metrics.", content={"text/plain": {"schema": {"type": "string"}}})}
)


def metrics_endpoint(services: Services) -> Endpoint:
    """GET: the metrics in the format the Accept header asks for."""

    async def metrics(request: Request) -> Response:
        body, content_type = services.metrics(request.headers.get("accept", ""))
        # Set as a header, as the framework would add a second charset to a media type.
        return Response(body, headers={"content-type": content_type})

    return metrics
