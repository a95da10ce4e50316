"""The Links of a request, which make the addresses of kept pictures."""

from __future__ import annotations

from starlette.requests import Request

from sdxl_gateway.api.replies.links import Links
from sdxl_gateway.api.services import Services


def links_of(services: Services, request: Request) -> Links:
    """Addresses below the configured one, else the one that the request was sent to."""
    settings = services.settings
    base_url = settings.server.public_base_url or str(request.base_url)
    return Links(base_url, services.addresses, settings.delivery.url_seconds)
