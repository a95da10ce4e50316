"""Takes the services, gives the rows of the route table that show the page to browsers; none where it is off."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import page
from sdxl_gateway.api.http.route import Access, Route
from sdxl_gateway.api.services import Services


def page_rows(services: Services) -> tuple[Route, ...]:
    """The page is open to anybody; all that it calls is not."""
    if not services.settings.server.page:
        return ()
    return (
        Route(
            "GET",
            ("/",),
            page.page,
            label="page",
            summary="The page for browsers.",
            description=page.PAGE,
            access=Access.OPEN,
        ),
        Route(
            "GET",
            ("/page/{name}",),
            page.page_file,
            label="page",
            summary="A style sheet or a script of the page.",
            description=page.PAGE_FILE,
            access=Access.OPEN,
        ),
        Route(
            "GET",
            ("/docs",),
            page.docs,
            label="page",
            summary="This document in a browser, to read and try.",
            description=page.DOCS,
            access=Access.OPEN,
        ),
    )
