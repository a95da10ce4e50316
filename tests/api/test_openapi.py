"""Tests api/openapi/: the document is valid and names all that is served and read."""

from __future__ import annotations

import json

import pytest
from openapi_spec_validator import validate

from sdxl_gateway.api.asks import keys
from sdxl_gateway.api.asks.fields import fields_of, wire_fields
from sdxl_gateway.api.openapi.schemas import body_schema
from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Operation
from tests.kit.api import client, served_api


async def test_the_document_is_valid_openapi() -> None:
    async with client(served_api()) as http:
        document = (await http.get("/openapi.json")).json()
    validate(document)
    assert document == json.loads(json.dumps(served_api().app.state.document))


def test_the_document_names_every_route() -> None:
    documented = set(served_api().app.state.document["paths"])
    served = {getattr(route, "path", "") for route in served_api().app.routes}
    own = {path.replace(":path", "") for path in served if path.startswith(("/v1/", "/files", "/healthz", "/readyz"))}
    assert own | {"/metrics", "/openapi.json", "/", "/page/{name}", "/docs"} == documented


@pytest.mark.parametrize("operation", list(Operation))
def test_the_document_names_every_field(operation: Operation) -> None:
    limits = Limits(max_steps=77)
    schema = body_schema(limits, operation, form=False)
    spelled = {word for field in fields_of(wire_fields(limits), operation) for word in field.spellings}
    assert set(schema["properties"]) == spelled
    steps = schema["properties"]["num_inference_steps"]
    assert (steps["maximum"], steps["x-alias-of"], steps["x-extension"]) == (77, "steps", True)
    assert "x-alias-of" not in schema["properties"]["steps"]


@pytest.mark.parametrize(
    ("path", "names", "required"),
    [
        ("/v1/admin/keys", keys._GRANT, ["tenant"]),
        ("/v1/admin/keys/{key_id}", keys._CHANGED, []),
        ("/v1/admin/keys/{key_id}/rotate", {"grace_seconds"}, []),
        ("/v1/admin/reviews/{review_id}", {"decision", "note"}, ["decision"]),
        ("/v1/moderations/reviews/{review_id}/appeal", {"text"}, ["text"]),
    ],
)
def test_the_document_names_what_operators_and_owners_may_say(path: str, names: set[str], required: list[str]) -> None:
    body = served_api().app.state.document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"]["properties"].keys() == names
    assert body["schema"].get("required", []) == required
    assert body["schema"]["additionalProperties"] is False


async def test_a_name_that_is_a_path_of_its_own_is_told_its_verbs() -> None:
    served = served_api()
    async with client(served) as http:
        reply = await http.get("/v1/images/generations")
    assert reply.status_code == 405
    assert "405" in served.app.state.document["paths"]["/v1/images/{image_id}"]["get"]["responses"]
    assert "405" not in served.app.state.document["paths"]["/v1/models/{model}"]["get"]["responses"]
