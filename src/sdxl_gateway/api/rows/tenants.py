"""Takes the services, gives the rows of the route table about what is remembered of tenants."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import tenants
from sdxl_gateway.api.http.route import Access, Route
from sdxl_gateway.api.services import Services


def tenant_rows(services: Services) -> tuple[Route, ...]:
    """One address, to look and to erase."""
    rows = (
        ("GET", tenants.export_endpoint, "All that is remembered of a tenant.", tenants.EXPORT_TENANT),
        ("DELETE", tenants.erase_endpoint, "Erase what is remembered of a tenant.", tenants.ERASE_TENANT),
    )
    path = ("/v1/admin/tenants/{tenant}/data",)
    return tuple(
        Route(verb, path, made(services), "admin.tenants", about, told, access=Access.ADMIN)
        for verb, made, about, told in rows
    )
