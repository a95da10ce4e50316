"""Takes the rows of the route table, gives the OpenAPI 3.1 document: what is served, what it reads and gives."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sdxl_gateway.api.http.errors import Error
from sdxl_gateway.api.http.request_log import ANSWER_HEADERS
from sdxl_gateway.api.http.route import Access, Description, Reply, Route, Schema
from sdxl_gateway.api.openapi.schemas import named_schemas, ref
from sdxl_gateway.api.openapi.types import schemas_of

_PARAMETER = re.compile(r"{(\w+)}")
_KEY_ERRORS = (401, 403, 429)
"""Of every route that is not open to anybody."""


def openapi_document(rows: Sequence[Route], version: str) -> Schema:
    """The document of all `rows`."""
    schemas, named = schemas_of((Error, *_reply_types(rows)))
    paths: Schema = {}
    for row in rows:
        shadowed = (405,) if _shadowed(row, rows) else ()
        paths.setdefault(row.documented_path, {})[row.verb.lower()] = _operation(row, schemas, shadowed)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sdxl-gateway",
            "version": version,
            "description": "OpenAI's images API on your own GPU, where a LoRA blend is a model name.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"apiKey": []}],
        "paths": paths,
        "components": {
            "schemas": named | named_schemas(),
            "responses": {"Error": _json("OpenAI's error shape.", ref("Error"))},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "api-key"},
            },
        },
    }


def _reply_types(rows: Sequence[Route]) -> list[Any]:
    """Each once."""
    replies = [reply for row in rows for reply in row.description.replies.values()]
    return list(dict.fromkeys(reply.json for reply in replies if reply.json is not None))


def _shadowed(row: Route, rows: Sequence[Route]) -> bool:
    """Whether a name that this row would take is a path of its own, which does not know this verb."""
    fits = re.compile(_PARAMETER.sub("[^/]+", row.documented_path))
    own_paths = {other.documented_path for other in rows if "{" not in other.documented_path}
    knowing = {other.documented_path for other in rows if other.verb == row.verb}
    return any(fits.fullmatch(path) for path in own_paths - knowing)


def _operation(row: Route, schemas: Mapping[Any, Schema], also: Sequence[int]) -> Schema:
    described = row.description
    parameters = _parameters(row)
    replies = {str(status): _reply(reply, row, schemas) for status, reply in described.replies.items()}
    errors = sorted({*described.errors, *also, *(() if row.access is Access.OPEN else _KEY_ERRORS)})
    return {
        "operationId": described.name,
        "summary": row.summary,
        **({"security": []} if row.access is Access.OPEN else {}),
        **({"parameters": parameters} if parameters else {}),
        **_body(described),
        "responses": replies | {str(status): {"$ref": "#/components/responses/Error"} for status in errors},
    }


def _body(described: Description) -> Schema:
    if described.reads is None:
        return {}
    return {"requestBody": {"required": described.needs_body, "content": described.reads}}


def _parameters(row: Route) -> list[Schema]:
    text = {"type": "string"}
    in_path = _PARAMETER.findall(row.documented_path)
    return [
        *({"name": name, "in": "path", "required": True, "schema": text} for name in in_path),
        *({"name": name, "in": "query", "schema": schema} for name, schema in row.description.query.items()),
    ]


def _reply(reply: Reply, row: Route, schemas: Mapping[Any, Schema]) -> Schema:
    json = {} if reply.json is None else {"application/json": {"schema": schemas[reply.json]}}
    headers = {**ANSWER_HEADERS, **row.headers} if row.headers else {}
    return {
        "description": reply.about,
        **({"headers": {name: _header(about) for name, about in headers.items()}} if headers else {}),
        "content": json | reply.content,
    }


def _header(about: str) -> Schema:
    return {"description": about, "schema": {"type": "string"}}


def _json(about: str, schema: Schema) -> Schema:
    return {"description": about, "content": {"application/json": {"schema": schema}}}
