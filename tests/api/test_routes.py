"""Tests api/routes.py, api/http/route.py and api/http/router.py: all that a route is stands in its row."""

from __future__ import annotations

import re

import pytest
from openapi_spec_validator import validate
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as FrameworkRoute
from typing_extensions import TypedDict

from sdxl_gateway.api.http.route import Access, BodyLimit, Description, Reply, Route
from sdxl_gateway.core.errors import InvalidRequest
from tests.kit.api import GENERATE, KEYED, client, served_api
from tests.kit.wires import Wire

ALPHA, ROOT = {"api-key": "alpha"}, {"api-key": "root"}
VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
PARAMETER = re.compile(r"{\w+(:\w+)?}")


def address(path: str) -> str:
    return PARAMETER.sub("x", path)


ROWS = served_api(**KEYED).rows
ADDRESSES = [(row, address(path)) for row in ROWS for path in row.paths]
IDS = [f"{row.verb} {path}" for row, path in ADDRESSES]


def test_no_two_rows_say_the_same() -> None:
    said = [(row.verb, path) for row in ROWS for path in row.paths]
    assert len(said) == len(set(said))
    names = [row.description.name for row in ROWS]
    assert len(names) == len(set(names))


def test_the_application_serves_the_table_and_nothing_else() -> None:
    paths = {path for row in ROWS for path in row.paths}
    served = served_api(**KEYED).app.routes
    assert {route.path for route in served if isinstance(route, FrameworkRoute)} == paths
    assert len(served) == len(paths)


@pytest.mark.parametrize(("row", "path"), ADDRESSES, ids=IDS)
async def test_a_route_that_is_not_open_needs_a_key_whatever_the_verb(row: Route, path: str) -> None:
    served = served_api(**KEYED)
    async with client(served) as http:
        statuses = {verb: (await http.request(verb, path)).status_code for verb in VERBS}
        wrong_key = await http.request(row.verb, path, headers={"api-key": "wrong"})
    if row.access is Access.OPEN:
        assert 401 not in {*statuses.values(), wrong_key.status_code}
    else:
        assert {*statuses.values(), wrong_key.status_code} == {401}
    assert {seen.operation for seen in served.seen} == {row.label}
    assert served.gateway.asks == []


def test_what_is_open_is_named_here_and_nowhere_by_default() -> None:
    opened = [path for row in ROWS if row.access is Access.OPEN for path in row.paths]
    assert opened == ["/files/{name}", "/healthz", "/readyz", "/metrics", "/openapi.json", "/", "/page/{name}", "/docs"]
    protected = served_api(auth=KEYED["auth"] | {"protect_metrics": True}).rows
    assert next(row for row in protected if row.label == "metrics").access is Access.METRICS
    assert Route("GET", ("/x",), hello, "x", "X.", Description("x", {})).access is Access.KEY


@pytest.mark.parametrize(("row", "path"), ADDRESSES, ids=IDS)
async def test_an_admin_route_needs_an_admin_key(row: Route, path: str) -> None:
    async with client(served_api(**KEYED)) as http:
        keyed = await http.request(row.verb, path, headers=ALPHA)
        root = await http.request(row.verb, path, headers=ROOT)
    assert (keyed.status_code == 403) is (row.access in (Access.ADMIN, Access.LORAS))
    assert root.status_code not in (401, 403)


@pytest.mark.parametrize(("row", "path"), ADDRESSES, ids=IDS)
async def test_a_wrong_verb_is_told_all_the_right_ones(row: Route, path: str) -> None:
    verbs = {other.verb for other in ROWS if set(other.paths) & set(row.paths)}
    right = sorted(verbs | {"HEAD"}) if "GET" in verbs else sorted(verbs)
    async with client(served_api(**KEYED)) as http:
        answer = await http.request("PATCH", path, headers=ROOT)
    assert answer.status_code == 405
    assert answer.headers["allow"] == ", ".join(right)
    assert f"Allowed: {', '.join(right)}." in answer.json()["error"]["message"]


async def test_an_unknown_address_needs_a_key_then_is_told_what_there_is() -> None:
    served = served_api(**KEYED)
    async with client(served) as http:
        for path in ("/nowhere", "/v1/files/x", "/files/x/y", "/healthz/x", "/v1/healthz", "/V1/models"):
            assert (await http.get(path)).status_code == 401
            assert (await http.get(path, headers=ALPHA)).status_code == 404
        lost = (await http.get("/nowhere", headers=ALPHA)).json()["error"]["message"]
        twice = (await http.post("/v1/v1/images/edits", headers=ALPHA)).json()["error"]["message"]
    assert lost == (
        "Invalid URL (GET /nowhere). This server offers /v1/images/generations, /v1/images/edits, "
        "/v1/images/variations, /v1/images/recipe, /v1/images, /v1/models, /v1/checkpoints, /v1/loras, /v1/key, "
        "/v1/files, /v1/batches, /v1/moderations, /v1/moderations/reviews, "
        "/v1/webhooks/deliveries, /v1/jobs; see /openapi.json."
    )
    assert "/v1 twice" in twice
    assert [seen.operation for seen in served.seen[-2:]] == ["other", "images.edits"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.verb} {row.paths[0]}")
def test_a_row_is_in_the_document(row: Route) -> None:
    document = served_api(**KEYED).app.state.document
    operation = document["paths"][row.documented_path][row.verb.lower()]
    assert operation["summary"] == row.summary
    assert (operation.get("security") == []) is (row.access is Access.OPEN)
    assert ("401" in operation["responses"]) is (row.access is not Access.OPEN)
    assert ("403" in operation["responses"]) is (row.access is not Access.OPEN)


async def test_cross_origin_pages_can_read_answers_and_errors() -> None:
    async with client(served_api(**KEYED)) as http:
        headers = {"origin": "http://page", "access-control-request-method": "POST"}
        preflight = await http.options(GENERATE, headers=headers | {"access-control-request-headers": "authorization"})
        refused = await http.get("/v1/models", headers={"origin": "http://page"})
    assert preflight.status_code == 200
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "*"
    assert "x-request-id" in refused.headers["access-control-expose-headers"]


# A route added here alone, without a line of the house: it gets all that a row says.


class Greeting(TypedDict):
    """A greeting."""

    hello: str


async def hello(request: Request) -> Response:
    body = await request.body()
    if not body:
        raise InvalidRequest("Say something.", param="body")
    return JSONResponse({"hello": request.path_params["name"]}, headers={"x-mood": "good"})


GREETINGS = (
    Route(
        "PUT",
        ("/v1/greetings/{name}", "/greetings/{name}"),
        hello,
        label="greetings",
        summary="Greet somebody.",
        description=Description("greet", {200: Reply("Greeted.", Greeting)}, errors=(400,)),
        access=Access.ADMIN,
        body=BodyLimit(10, 0.05),
        headers={"x-mood": "How the server is."},
    ),
    Route("GET", ("/v1/greetings",), hello, "greetings", "All of them.", Description("greetings", {})),
)


async def test_an_added_route_has_its_key_and_its_label() -> None:
    served = served_api(more=GREETINGS, **KEYED)
    async with client(served) as http:
        answers = [
            await http.put("/greetings/ann", content=b"x", headers=headers) for headers in ({}, ALPHA, ROOT, ROOT)
        ]
        silent = await http.put("/v1/greetings/ann", headers=ROOT)
    assert [answer.status_code for answer in answers] == [401, 403, 200, 200]
    assert answers[2].json() == {"hello": "ann"}
    assert (silent.status_code, silent.json()["error"]["param"]) == (400, "body")
    assert [(seen.operation, seen.painting) for seen in served.seen] == [("greetings", False)] * 5


async def test_an_added_route_has_its_body_limit() -> None:
    served = served_api(more=GREETINGS)
    async with client(served_api(more=GREETINGS, **KEYED)) as http:
        assert (await http.put("/greetings/ann", content=b"x" * 10, headers=ROOT)).status_code == 200
        assert (await http.put("/greetings/ann", content=b"x" * 11, headers=ROOT)).status_code == 413
    slow = Wire(served_api(more=GREETINGS, **KEYED).app, "/greetings/ann", method="PUT", headers=ROOT)
    slow.push(b"x", more=True)
    start, *_ = await slow.rest()
    assert start["status"] == 408
    async with client(served) as http:
        assert (await http.put("/greetings/ann", content=b"x" * 11)).status_code == 403


async def test_an_added_route_is_in_the_document_and_in_the_hint() -> None:
    served = served_api(more=GREETINGS)
    async with client(served) as http:
        document = (await http.get("/openapi.json")).json()
        lost = (await http.get("/nowhere")).json()["error"]["message"]
        wrong = await http.post("/v1/greetings/ann")
        page = await http.get("/healthz", headers={"origin": "http://page"})
    validate(document)
    operation = document["paths"]["/v1/greetings/{name}"]["put"]
    assert (operation["operationId"], operation["summary"]) == ("greet", "Greet somebody.")
    assert operation["parameters"] == [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]
    assert set(operation["responses"]) == {"200", "400", "401", "403", "429"}
    assert document["components"]["schemas"]["Greeting"]["required"] == ["hello"]
    assert ", /v1/greetings; see" in lost
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "PUT")
    assert "x-mood" in page.headers["access-control-expose-headers"]
