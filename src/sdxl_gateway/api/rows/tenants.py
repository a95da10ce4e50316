"""Takes the services, gives the rows of the route table about what is remembered of tenants."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import tenants
from sdxl_gateway.api.http.route import Access, Route
from sdxl_gateway.api.rows.paths import only
from sdxl_gateway.api.rows.resource import Row, resource
from sdxl_gateway.api.services import Services

DATA = "/v1/admin/tenants/{tenant}/data"


def tenant_rows(services: Services) -> tuple[Route, ...]:
    """One address, to look and to erase."""
    export, erase = "Export all data of a tenant.", "Erase the data of a tenant."
    return resource(
        services,
        "admin.tenants",
        only,
        Row("GET", DATA, tenants.export_endpoint, export, tenants.EXPORT_TENANT, Access.ADMIN),
        Row("DELETE", DATA, tenants.erase_endpoint, erase, tenants.ERASE_TENANT, Access.ADMIN),
    )
