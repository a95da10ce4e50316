"""Takes the services, gives the rows of the route table about keys."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import keys, own_key, usage
from sdxl_gateway.api.http.route import Access, Route
from sdxl_gateway.api.rows.paths import openai_paths
from sdxl_gateway.api.services import Services


def key_rows(services: Services) -> tuple[Route, ...]:
    """An operator's keys, and anybody's own."""
    own = Route(
        "GET",
        openai_paths("/key"),
        own_key.own_key,
        "key",
        "What the key you ask with is good for.",
        own_key.GET_OWN_KEY,
    )
    rows = (
        ("GET", "", keys.list_endpoint, "The keys, page by page.", keys.LIST_KEYS),
        ("POST", "", keys.create_endpoint, "Make a key.", keys.CREATE_KEY),
        ("GET", "/{key_id}", keys.one_endpoint, "One key.", keys.RETRIEVE_KEY),
        ("POST", "/{key_id}", keys.update_endpoint, "Change a key.", keys.UPDATE_KEY),
        ("POST", "/{key_id}/rotate", keys.rotate_endpoint, "Make a key in place of another.", keys.ROTATE_KEY),
        ("DELETE", "/{key_id}", keys.revoke_endpoint, "Revoke a key.", keys.REVOKE_KEY),
    )
    return (
        own,
        *(
            Route(verb, (f"/v1/admin/keys{path}",), made(services), "admin.keys", about, told, access=Access.ADMIN)
            for verb, path, made, about, told in rows
        ),
    )


def usage_rows(services: Services) -> tuple[Route, ...]:
    """What keys used."""
    return (
        Route(
            "GET",
            ("/v1/admin/usage",),
            usage.list_endpoint(services),
            label="admin.usage",
            summary="What keys used, day by day.",
            description=usage.LIST_USAGE,
            access=Access.ADMIN,
        ),
    )
