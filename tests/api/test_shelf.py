"""LoRAs over HTTP, kept pictures, model cards and the OpenAPI document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from sdxl_gateway.api.asks.fields import fields_of, wire_fields
from sdxl_gateway.api.openapi.schemas import body_schema
from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Operation
from tests.api.fakes import House, house
from tests.api.forms import FORM, file, form, part
from tests.api.pictures import PNG

ADMIN = {"authorization": "Bearer root"}
KEYS: dict[str, Any] = {"auth": {"admin_keys": ["root"]}}


def client(served: House, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=served.app)
    return httpx.AsyncClient(transport=transport, base_url="http://gw", headers=headers)


async def test_a_lora_comes_is_seen_and_goes() -> None:
    served = house(**KEYS)
    body = form(part("name", "ink"), file("file", b"tensors" * 1000, "ignored/../name.safetensors"))
    async with client(served, ADMIN) as http:
        added = await http.post("/v1/loras", headers=FORM, content=body)
        again = await http.post("/v1/loras", headers=FORM, content=body)
        over = await http.post("/v1/loras?replace=true", headers=FORM, content=body)
        listed = await http.get("/v1/loras")
        one = await http.get("/v1/loras/ink")
        gone = await http.delete("/v1/loras/ink")
        missing = await http.get("/v1/loras/ink")
    assert (added.status_code, added.json()) == (201, {"name": "ink", "bytes": 7000})
    assert (again.status_code, over.status_code) == (400, 201)
    assert (listed.json()["data"], one.status_code) == ([{"name": "ink", "bytes": 7000}], 200)
    assert gone.json() == {"id": "ink", "object": "lora", "deleted": True}
    assert missing.status_code == 404


async def test_files_that_are_no_loras_are_listed_with_the_reason() -> None:
    async with client(house()) as http:
        listed = (await http.get("/v1/loras")).json()
    assert listed["problems"] == [
        {"file": "cut.safetensors", "code": "invalid_lora", "message": "The file is cut short."}
    ]


async def test_a_bare_file_is_taken_too() -> None:
    served = house(**KEYS)
    async with client(served, ADMIN) as http:
        headers = {"content-type": "application/octet-stream"}
        assert (await http.post("/v1/loras?name=x", headers=headers, content=b"abc")).status_code == 201
    assert served.gateway.files == {"x": b"abc"}


async def test_a_name_may_lead_through_folders() -> None:
    served = house(**KEYS)
    async with client(served, ADMIN) as http:
        added = await http.post("/v1/loras", headers=FORM, content=form(part("name", "a/b c"), file("file", b"abc")))
        one = await http.get("/v1/loras/a/b%20c")
        gone = await http.delete("/v1/loras/a/b%20c")
    assert (added.status_code, one.status_code, gone.status_code) == (201, 200, 200)
    assert gone.json()["id"] == "a/b c"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (form(file("file", b"abc")), 400, "name"),
        (form(part("name", "x")), 400, "file"),
        (form(part("name", "../x"), file("file", b"abc")), 400, "name"),
        (form(part("name", "a//b"), file("file", b"abc")), 400, "name"),
        (form(part("name", ".hidden"), file("file", b"abc")), 400, "name"),
        (form(part("name", "x" * 200), file("file", b"abc")), 400, "name"),
        (form(part("name", "x"), part("replace", "perhaps"), file("file", b"abc")), 400, "replace"),
        (form(part("name", "x"), file("file", bytes(2000))), 413, "file"),
        (form(part("name", "x"), file("file", b"abc"))[:-20], 400, None),
        (form(part("name", "x" * 5000), file("file", b"abc")), 400, None),
    ],
    ids=["no-name", "no-file", "dots", "slash", "hidden", "long", "replace", "large", "cut", "long-field"],
)
async def test_bad_uploads_leave_nothing(body: bytes, status: int, param: str | None) -> None:
    served = house(loras={"max_file_bytes": 1000}, **KEYS)
    async with client(served, ADMIN) as http:
        answer = await http.post("/v1/loras", headers=FORM, content=body)
        media = await http.post("/v1/loras", json={})
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert media.status_code == 415
    assert served.gateway.files == {}


async def test_a_kept_picture(tmp_path: Path) -> None:
    served = house(directory=tmp_path)
    stored = served.images.put(PNG, "png")
    async with client(served) as http:
        got = await http.get(f"/files/{stored.id}.png")
        head = await http.head(f"/files/{stored.id}.png")
        wrong = await http.get(f"/files/{stored.id}.webp")
        stored.path.unlink()
        gone = await http.get(f"/files/{stored.id}.png")
    assert (got.content, got.headers["content-type"]) == (PNG, "image/png")
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert got.headers["cache-control"].startswith("private, max-age=3")
    assert head.headers["content-length"] == str(len(PNG))
    assert wrong.status_code == 404
    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "expired")


async def test_models_with_and_without_the_prefix() -> None:
    async with client(house()) as http:
        listed = (await http.get("/models")).json()
        one = (await http.get("/v1/models/org%2Fink")).json()
    assert (listed["object"], listed["has_more"]) == ("list", False)
    assert set(listed["data"][0]) == {"id", "object", "created", "owned_by", "kind", "description", "ready"}
    assert (one["id"], one["object"], one["kind"]) == ("org/ink", "model", "lora")


async def test_the_document_is_valid_openapi() -> None:
    async with client(house()) as http:
        document = (await http.get("/openapi.json")).json()
    validate(document)
    assert document == json.loads(json.dumps(house().app.state.document))


def test_the_document_names_every_route() -> None:
    documented = set(house().app.state.document["paths"])
    served = {getattr(route, "path", "") for route in house().app.routes}
    own = {path.replace(":path", "") for path in served if path.startswith(("/v1/", "/files", "/healthz", "/readyz"))}
    assert own | {"/metrics", "/openapi.json"} == documented


@pytest.mark.parametrize("operation", list(Operation))
def test_the_document_names_every_field(operation: Operation) -> None:
    limits = Limits(max_steps=77)
    schema = body_schema(limits, operation, form=False)
    spelled = {word for field in fields_of(wire_fields(limits), operation) for word in field.spellings}
    assert set(schema["properties"]) == spelled
    assert schema["properties"]["num_inference_steps"]["maximum"] == 77
