"""Tests api/http/body_limit.py, and the limit of one picture in a form: bodies too large, too slow, or of no length."""

from __future__ import annotations

import pytest

from tests.kit.api import GENERATE, client, served_api
from tests.kit.forms import FORM, file, form, part
from tests.kit.pictures import PNG
from tests.kit.wires import Wire, body_of


async def test_a_declared_large_body_is_refused_unread() -> None:
    wire = Wire(served_api(server={"max_body_bytes": 100}).app, GENERATE, headers={"content-length": "101"})
    start, *rest = await wire.rest()
    assert start["status"] == 413
    assert dict(start["headers"])[b"connection"] == b"close"
    assert b"request_too_large" in body_of(rest)


@pytest.mark.parametrize("length", ["-1", "1.5", "ten", "9" * 30])
async def test_a_length_that_is_none_is_refused(length: str) -> None:
    start, *_ = await Wire(served_api().app, GENERATE, headers={"content-length": length}).rest()
    assert start["status"] == 400


@pytest.mark.parametrize(("size", "status"), [(100, 200), (101, 413)])
async def test_an_undeclared_large_body_is_refused_while_read(size: int, status: int) -> None:
    wire = Wire(served_api(server={"max_body_bytes": 100}).app, GENERATE)
    body = b'{"prompt":"' + b"a" * (size - 13) + b'"}'
    wire.push(body[:60], more=True)
    wire.push(body[60:])
    start, *_ = await wire.rest()
    assert start["status"] == status


async def test_a_slow_body_is_given_up() -> None:
    wire = Wire(served_api(server={"receive_timeout_seconds": 0.05}).app, GENERATE)
    wire.push(b'{"prompt":', more=True)
    start, *rest = await wire.rest()
    assert start["status"] == 408
    assert b"request_timeout" in body_of(rest)


async def test_a_large_file_is_named() -> None:
    served = served_api(limits={"max_image_bytes": len(PNG)})
    async with client(served) as http:
        body = form(part("prompt", "a"), file("image", PNG), file("image", PNG + b"x"))
        over = await http.post("/v1/images/edits", headers=FORM, content=body)
        huge = await http.post(
            "/v1/images/edits", headers=FORM, content=form(part("prompt", "a"), file("image", PNG + bytes(5000)))
        )
        fits = await http.post("/v1/images/edits", headers=FORM, content=form(part("prompt", "a"), file("image", PNG)))
    assert (over.status_code, over.json()["error"]["param"]) == (413, "image[1]")
    assert (huge.status_code, huge.json()["error"]["code"]) == (413, "image_file_too_large")
    assert fits.status_code == 200
