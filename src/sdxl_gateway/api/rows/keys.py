"""Takes the services, gives the rows of the route table about keys."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import keys, own_key, usage
from sdxl_gateway.api.http.route import Access, Route
from sdxl_gateway.api.rows.paths import only, openai_paths
from sdxl_gateway.api.rows.resource import Row, resource
from sdxl_gateway.api.services import Services

ALL, ONE = "/v1/admin/keys", "/v1/admin/keys/{key_id}"


def key_rows(services: Services) -> tuple[Route, ...]:
    """An operator's keys, and anybody's own."""
    own = Route(
        "GET",
        openai_paths("/key"),
        own_key.own_key,
        "key",
        "What the key in use permits.",
        own_key.GET_OWN_KEY,
    )
    admin, rotate = Access.ADMIN, f"{ONE}/rotate"
    admins = resource(
        services,
        "admin.keys",
        only,
        Row("GET", ALL, keys.list_endpoint, "The keys, page by page.", keys.LIST_KEYS, admin),
        Row("POST", ALL, keys.create_endpoint, "Make a key.", keys.CREATE_KEY, admin),
        Row("GET", ONE, keys.one_endpoint, "One key.", keys.RETRIEVE_KEY, admin),
        Row("POST", ONE, keys.update_endpoint, "Change a key.", keys.UPDATE_KEY, admin),
        Row("POST", rotate, keys.rotate_endpoint, "Rotate a key: make one that replaces it.", keys.ROTATE_KEY, admin),
        Row("DELETE", ONE, keys.revoke_endpoint, "Revoke a key.", keys.REVOKE_KEY, admin),
    )
    return own, *admins


def usage_rows(services: Services) -> tuple[Route, ...]:
    """What keys used."""
    summary = "Usage of keys by day."
    row = Row("GET", "/v1/admin/usage", usage.list_endpoint, summary, usage.LIST_USAGE, Access.ADMIN)
    return resource(services, "admin.usage", only, row)
