"""Creates, lists, changes, rotates and revokes keys, for operators."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.accounts.key_store import GRACE_SECONDS
from sdxl_gateway.api.asks.keys import read_change, read_grace, read_grant
from sdxl_gateway.api.asks.pages import PAGE_QUERY, Page
from sdxl_gateway.api.endpoints.acting import acted
from sdxl_gateway.api.http.json_body import small_object
from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.openapi.admin_schemas import key_change_schema, new_key_schema, rotation_schema
from sdxl_gateway.api.replies.keys import KeyCard, KeyList, NewKey, key_card, key_list, new_key
from sdxl_gateway.api.services import Services

LIST_KEYS = Description(
    "listKeys",
    {200: Reply("A page of the keys.", KeyList)},
    errors=(400,),
    query={**PAGE_QUERY, "tenant": {"type": "string"}},
)
CREATE_KEY = Description(
    "createKey",
    {201: Reply("The key, shown only this once.", NewKey)},
    errors=(400, 413),
    reads={"application/json": {"schema": new_key_schema()}},
)
RETRIEVE_KEY = Description("retrieveKey", {200: Reply("The key.", KeyCard)}, errors=(404,))
UPDATE_KEY = Description(
    "updateKey",
    {200: Reply("The key as it is now.", KeyCard)},
    errors=(400, 404, 413),
    reads={"application/json": {"schema": key_change_schema()}},
)
ROTATE_KEY = Description(
    "rotateKey",
    {201: Reply("The new key, shown only this once.", NewKey)},
    errors=(400, 404, 413),
    reads={"application/json": {"schema": rotation_schema()}},
    needs_body=False,
)
REVOKE_KEY = Description("revokeKey", {200: Reply("The revoked key.", KeyCard)}, errors=(404,))


def list_endpoint(services: Services) -> Endpoint:
    """GET: a page of the keys, of one tenant if one is given."""

    async def list_keys(request: Request) -> Response:
        tenant = request.query_params.get("tenant")
        keys = [key for key in services.keys.list() if tenant in (None, key.grant.tenant)]
        page, more = Page.of(request).cut(keys, lambda key: key.id)
        return JSONResponse(key_list(page, has_more=more))

    return list_keys


def create_endpoint(services: Services) -> Endpoint:
    """POST: a new key."""

    async def create_key(request: Request) -> Response:
        grant = read_grant(await small_object(request), time.time())
        text, key = await services.keys.create(grant)
        acted(services, request, "key.created", key.id, grant.tenant, roles=" ".join(sorted(grant.roles)))
        return JSONResponse(new_key(text, key), 201)

    return create_key


def one_endpoint(services: Services) -> Endpoint:
    """GET: one key."""

    async def one_key(request: Request) -> Response:
        return JSONResponse(key_card(services.keys.find(request.path_params["key_id"])))

    return one_key


def update_endpoint(services: Services) -> Endpoint:
    """POST: change what is given."""

    async def update_key(request: Request) -> Response:
        given = await small_object(request)
        key = await services.keys.update(request.path_params["key_id"], read_change(given, time.time()))
        acted(services, request, "key.updated", key.id, key.grant.tenant, fields=" ".join(sorted(given)))
        return JSONResponse(key_card(key))

    return update_key


def rotate_endpoint(services: Services) -> Endpoint:
    """POST: a new key with the same grant; the body, if any, says for how long the old one remains valid."""

    async def rotate_key(request: Request) -> Response:
        old = request.path_params["key_id"]
        grace = read_grace(await small_object(request, may_be_empty=True), GRACE_SECONDS)
        text, key = await services.keys.rotate(old, grace)
        acted(services, request, "key.rotated", old, key.grant.tenant, successor=key.id)
        return JSONResponse(new_key(text, key), 201)

    return rotate_key


def revoke_endpoint(services: Services) -> Endpoint:
    """DELETE: revoke the key."""

    async def revoke_key(request: Request) -> Response:
        key = await services.keys.revoke(request.path_params["key_id"])
        acted(services, request, "key.revoked", key.id, key.grant.tenant)
        return JSONResponse(key_card(key))

    return revoke_key
