"""Takes the operator's limits, gives the OpenAPI 3.1 document: its paths here, what is said on them in schemas.py."""

from __future__ import annotations

from sdxl_gateway.api.openapi.schemas import Schema, body_schema, file, list_of, lora_list, named_schemas, ref
from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Operation

PATHS = {
    Operation.GENERATE: ("/v1/images/generations", "createImage", "Paint pictures from a prompt."),
    Operation.EDIT: ("/v1/images/edits", "createImageEdit", "Paint pictures from a picture and a prompt."),
    Operation.VARY: ("/v1/images/variations", "createImageVariation", "Paint variations of a picture."),
}
STREAMED = {Operation.GENERATE: "image_generation", Operation.EDIT: "image_edit"}


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
            "schemas": named_schemas(),
            "responses": {"Error": _json_response("OpenAI's error shape.", ref("Error"))},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "api-key"},
            },
        },
    }


def _image_paths(limits: Limits) -> Schema:
    return {path: {"post": _paint(limits, operation, name, about)} for operation, (path, name, about) in PATHS.items()}


def _paint(limits: Limits, operation: Operation, name: str, about: str) -> Schema:
    content: Schema = {"application/json": {"schema": ref("ImagesResponse")}}
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
        "/v1/models": {"get": _get("listModels", "Checkpoints, aliases, styles and LoRAs.", list_of("Model"))},
        "/v1/models/{model}": {"get": _get("retrieveModel", "One model.", ref("Model"), "model")},
        "/v1/loras": {
            "get": _get("listLoras", "The LoRAs on the shelf, and files that are none.", lora_list()),
            "post": _add_lora(),
        },
        "/v1/loras/{name}": {
            "get": _get("retrieveLora", "One LoRA with its load report.", ref("Lora"), "name"),
            "delete": {
                "operationId": "deleteLora",
                "summary": "Take a LoRA off the shelf; needs an admin key.",
                "parameters": [_path_parameter("name")],
                "responses": {"200": _json_response("It is gone.", {"type": "object"}), **_errors("401", "403", "404")},
            },
        },
    }


def _add_lora() -> Schema:
    said = {"name": {"type": "string"}, "replace": {"type": "boolean"}}
    form = {"type": "object", "properties": {**said, "file": file()}, "required": ["name", "file"]}
    return {
        "operationId": "createLora",
        "summary": "Put a safetensors LoRA on the shelf; needs an admin key. A form's fields come before its file.",
        "parameters": [{"name": name, "in": "query", "schema": schema} for name, schema in said.items()],
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": form}, "application/octet-stream": {}},
        },
        "responses": {"201": _json_response("Its entry.", ref("Lora")), **_errors("400", "401", "403", "413", "415")},
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
