"""Takes the table of fields, gives the OpenAPI 3.1 document: the parser reads the same list."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.fields import MAX_IMAGES, MAX_LORAS, WEIGHT_LIMIT, Field, Kind, fields_of, wire_fields
from sdxl_gateway.api.images import Endpoint
from sdxl_gateway.api.world import World
from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Operation

Schema = dict[str, Any]
PATHS = {
    Operation.GENERATE: ("/v1/images/generations", "createImage", "Paint pictures from a prompt."),
    Operation.EDIT: ("/v1/images/edits", "createImageEdit", "Paint pictures from a picture and a prompt."),
    Operation.VARY: ("/v1/images/variations", "createImageVariation", "Paint variations of a picture."),
}
STREAMED = {Operation.GENERATE: "image_generation", Operation.EDIT: "image_edit"}


def document_endpoint(world: World) -> Endpoint:
    document = openapi_document(world.settings.limits, world.version)

    async def openapi(_: Request) -> Response:
        return JSONResponse(document)

    return openapi


def openapi_document(limits: Limits, version: str) -> Schema:
    """The document, under the operator's limits."""
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
        "paths": _image_paths(limits) | _catalogue_paths() | _open_paths(),
        "components": {
            "schemas": _schemas(),
            "responses": {"Error": _json_response("OpenAI's error shape.", _ref("Error"))},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "api-key"},
            },
        },
    }


def body_schema(limits: Limits, operation: Operation, *, form: bool) -> Schema:
    """What one operation reads, as JSON or as a form. Unknown fields are ignored unless the server is strict."""
    properties: Schema = {}
    required = []
    for field in fields_of(wire_fields(limits), operation):
        schema = _field_schema(field, form=form)
        for spelling in field.spellings:
            properties[spelling] = schema
        # An image may come under another spelling, so only the prompt can be demanded by name.
        if operation in field.required and field.kind is Kind.TEXT:
            required.append(field.name)
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _field_schema(field: Field, *, form: bool) -> Schema:
    described = {"description": field.about + (" An extension of OpenAI's API." if field.extension else "")}
    if field.kind is Kind.IGNORED:
        return described
    schema = _value_schema(field, form=form)
    if not form and "type" in schema:
        schema["type"] = [schema["type"], "null"]
    if not form and "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    return schema | described


def _value_schema(field: Field, *, form: bool) -> Schema:
    bounds = {
        key: _bound(value) for key, value in (("minimum", field.low), ("maximum", field.high)) if value is not None
    }
    match field.kind:
        case Kind.TEXT:
            return {"type": "string", "maxLength": field.max_chars}
        case Kind.INTEGER | Kind.NUMBER:
            return {"type": str(field.kind), **bounds}
        case Kind.FLAG:
            return {"type": "boolean"}
        case Kind.CHOICE:
            return {"type": "string", "enum": list(field.choices)}
        case Kind.LORAS:
            return {"anyOf": [{"type": "array", "items": _ref("LoraEntry"), "maxItems": MAX_LORAS}, {"type": "string"}]}
        case Kind.PICTURE:
            return _file() if form else _ref("ImageReference")
        case _:
            one = _file() if form else _ref("ImageReference")
            return {"anyOf": [one, {"type": "array", "items": one, "maxItems": MAX_IMAGES}]}


def _bound(value: float) -> float:
    return int(value) if value == int(value) else value


def _file() -> Schema:
    return {"type": "string", "contentMediaType": "application/octet-stream"}


def _image_paths(limits: Limits) -> Schema:
    return {path: {"post": _paint(limits, operation, name, about)} for operation, (path, name, about) in PATHS.items()}


def _paint(limits: Limits, operation: Operation, name: str, about: str) -> Schema:
    content: Schema = {"application/json": {"schema": _ref("ImagesResponse")}}
    if operation in STREAMED:
        content["text/event-stream"] = {
            "schema": {"type": "string"},
            "x-events": [f"{STREAMED[operation]}.partial_image", f"{STREAMED[operation]}.completed", "error"],
        }
    return {
        "operationId": name,
        "summary": about,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": body_schema(limits, operation, form=False)},
                "multipart/form-data": {"schema": body_schema(limits, operation, form=True)},
            },
        },
        "responses": {
            "200": {"description": "The pictures.", "headers": _reply_headers(), "content": content},
            **_errors("400", "401", "404", "408", "413", "415", "429", "500", "503", "504", "507"),
        },
    }


def _reply_headers() -> Schema:
    return {
        name: {"description": about, "schema": {"type": "string"}}
        for name, about in (
            ("x-request-id", "The request's name in the server's log."),
            ("openai-processing-ms", "How long the server took."),
            ("x-sdxl-gateway-ignored", "Fields of the request that had no effect."),
            ("x-sdxl-gateway-warning", "What the picture does not show as it was asked."),
        )
    }


def _catalogue_paths() -> Schema:
    return {
        "/v1/models": {"get": _get("listModels", "Checkpoints, aliases, styles and LoRAs.", _list_of("Model"))},
        "/v1/models/{model}": {"get": _get("retrieveModel", "One model.", _ref("Model"), "model")},
        "/v1/loras": {
            "get": _get("listLoras", "The LoRAs on the shelf, and files that are none.", _lora_list()),
            "post": _add_lora(),
        },
        "/v1/loras/{name}": {
            "get": _get("retrieveLora", "One LoRA with its load report.", _ref("Lora"), "name"),
            "delete": {
                "operationId": "deleteLora",
                "summary": "Take a LoRA off the shelf; needs an admin key.",
                "parameters": [_path_parameter("name")],
                "responses": {"200": _json_response("It is gone.", {"type": "object"}), **_errors("401", "403", "404")},
            },
        },
    }


def _add_lora() -> Schema:
    form = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "replace": {"type": "boolean"}, "file": _file()},
        "required": ["name", "file"],
    }
    return {
        "operationId": "createLora",
        "summary": "Put a safetensors LoRA on the shelf; needs an admin key. Fields come before the file.",
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
        "responses": {"201": _json_response("Its entry.", _ref("Lora")), **_errors("400", "401", "403", "413", "415")},
    }


def _open_paths() -> Schema:
    status = {"type": "object"}
    binary = {"description": "The picture.", "content": {f"image/{kind}": {} for kind in ("png", "jpeg", "webp")}}
    text = {"description": "Prometheus metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    ready = {"200": _json_response("It can paint.", status), "503": _json_response("It cannot paint now.", status)}
    return {
        "/files/{name}": {
            "get": {
                "operationId": "retrieveFile",
                "summary": "A finished picture, by the address a reply gave.",
                "security": [],
                "parameters": [_path_parameter("name")],
                "responses": {"200": binary, **_errors("404", "410")},
            }
        },
        "/healthz": {"get": _open("healthz", "Does the process live?", {"200": _json_response("It lives.", status)})},
        "/readyz": {"get": _open("readyz", "Can it paint?", ready)},
        "/metrics": {"get": _open("metrics", "For Prometheus.", {"200": text})},
        "/openapi.json": {"get": _open("openapi", "This document.", {"200": _json_response("It.", status)})},
    }


def _get(name: str, about: str, schema: Schema, parameter: str | None = None) -> Schema:
    parameters = {"parameters": [_path_parameter(parameter)]} if parameter else {}
    return {
        "operationId": name,
        "summary": about,
        **parameters,
        "responses": {"200": _json_response(about, schema), **_errors("401", "404")},
    }


def _open(name: str, about: str, responses: Schema) -> Schema:
    return {"operationId": name, "summary": about, "security": [], "responses": responses}


def _path_parameter(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _json_response(about: str, schema: Schema) -> Schema:
    return {"description": about, "content": {"application/json": {"schema": schema}}}


def _errors(*statuses: str) -> Schema:
    return {status: {"$ref": "#/components/responses/Error"} for status in statuses}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list_of(name: str) -> Schema:
    return _object({"object": {"const": "list"}, "data": _array(_ref(name)), "has_more": {"const": False}})


def _lora_list() -> Schema:
    text = {"type": "string"}
    problem = _object({"file": text, "code": text, "message": text})
    listed = {"object": {"const": "list"}, "data": _array(_ref("Lora")), "problems": _array(problem)}
    return _object({**listed, "has_more": {"const": False}})


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _object(properties: Schema, *, optional: tuple[str, ...] = ()) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


def _schemas() -> Schema:
    text, whole, number = {"type": "string"}, {"type": "integer"}, {"type": "number"}
    weight = {"type": "number", "minimum": -WEIGHT_LIMIT, "maximum": WEIGHT_LIMIT}
    nullable = {"type": ["string", "null"]}
    entry = _object(
        {"name": text, "weight": weight, "text_encoder_weight": weight}, optional=("weight", "text_encoder_weight")
    )
    image = _object(
        {"b64_json": text, "url": text, "seed": whole, "recipe": {"type": "object"}}, optional=("b64_json", "url")
    )
    return {
        "Error": _object({"error": _object({"message": text, "type": text, "param": nullable, "code": nullable})}),
        "LoraEntry": {"anyOf": [entry, {"type": "string", "description": "`name` or `name:0.8`"}]},
        "ImageReference": {
            "anyOf": [
                {"type": "string", "description": "A data URL, or base64."},
                _object({"image_url": {"type": "string", "description": "A data URL."}}),
            ]
        },
        "ImagesResponse": _object(
            {
                "created": whole,
                "data": _array(image),
                "background": {"enum": ["opaque"]},
                "output_format": {"enum": ["png", "jpeg", "webp"]},
                "quality": {"enum": ["low", "medium", "high", "max"]},
                "size": text,
                "safety_identifier": text,
                "usage": _ref("Usage"),
            },
            optional=("safety_identifier",),
        ),
        "Usage": _object(
            {
                "input_tokens": whole,
                "input_tokens_details": _object({"text_tokens": whole, "image_tokens": whole}),
                "output_tokens": whole,
                "total_tokens": whole,
            }
        ),
        "Model": _object(
            {
                "id": text,
                "object": {"const": "model"},
                "created": whole,
                "owned_by": text,
                "kind": {"enum": ["checkpoint", "alias", "style", "lora"]},
                "description": text,
                "ready": {"enum": ["warm", "cold"]},
            }
        ),
        "Lora": {"type": "object", "properties": {"name": text, "weight": number}},
    }
