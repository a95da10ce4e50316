"""Tests api/replies/stream.py, events.py and api/http/disconnect.py.

A stream's frames leave as they come, and a client that leaves takes its picture's work with it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sdxl_gateway.api.replies.images import ReplyStyle
from sdxl_gateway.api.replies.links import Links
from sdxl_gateway.api.replies.stream import event_frames
from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.errors import Busy, EngineFault, Unavailable
from sdxl_gateway.core.picture import Size
from sdxl_gateway.gateway.events import Accepted, Item, Progressed
from tests.kit.api import FakeGateway, failing, served_api
from tests.kit.images import signer
from tests.kit.wires import Wire, body_of

GENERATE = "/v1/images/generations"
STREAMING = b'{"prompt":"a","stream":true,"partial_images":2,"seed":5}'


def events(body: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Each frame's name and payload; comments left out."""
    frames = [frame for frame in body.decode().split("\n\n") if frame and not frame.startswith(":")]
    lines = [dict(line.split(": ", 1) for line in frame.split("\n")) for frame in frames]
    return [(line["event"], json.loads(line["data"])) for line in lines]


async def test_frames_are_openais() -> None:
    served = served_api()
    wire = Wire(served.app, GENERATE)
    wire.push(STREAMING)
    start, *rest = await wire.rest()
    headers = dict(start["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"x-request-id"].startswith(b"req_")
    body = body_of(rest)
    assert body.startswith(b": queue position 0\n\n")
    assert body.endswith(b"\n\n")
    event_frames = events(body)
    assert [name for name, _ in event_frames] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert all(name == payload["type"] for name, payload in event_frames)
    assert [payload["partial_image_index"] for _, payload in event_frames[:2]] == [0, 1]
    last = event_frames[-1][1]
    assert {"b64_json", "created_at", "size", "quality", "background", "output_format", "usage"} <= set(last)
    assert (last["seed"], last["size"]) == (5, "1024x1024")
    assert [payload["queue_position"] for _, payload in event_frames] == [0, 0, 0]
    assert served.gateway.closed == 1


async def test_steps_are_told_in_comments() -> None:
    async def items() -> AsyncIterator[Item]:
        yield Progressed("job-1", 0, 5, 20)

    style = ReplyStyle(b64=True, url=False, links=Links("http://gw", signer(), 60.0))
    accepted = Accepted("job-1", Size(64, 64), "medium", "png", position=3)
    frames = [frame async for frame in event_frames(Operation.GENERATE, style, accepted, items())]
    assert frames == [b": queue position 3\n\n", b": step 5 of 20\n\n"]


@pytest.mark.parametrize("said", [{"safety_identifier": "u-1"}, {"user": "u-1"}, {}], ids=str)
async def test_the_last_event_repeats_the_end_user(said: dict[str, str]) -> None:
    wire = Wire(served_api().app, GENERATE)
    wire.push(json.dumps({"prompt": "a", "stream": True, "partial_images": 1, **said}).encode())
    partial, last = [payload for _, payload in events(body_of(await wire.rest()))]
    assert last.get("safety_identifier") == ("u-1" if said else None)
    assert ("safety_identifier" in last) is bool(said)
    assert "safety_identifier" not in partial


async def test_headers_leave_before_the_picture() -> None:
    gateway = FakeGateway(hold=asyncio.Event())
    wire = Wire(served_api(gateway).app, GENERATE)
    wire.push(STREAMING)
    assert (await wire.pull())["status"] == 200
    assert gateway.closed == 0
    assert gateway.hold is not None
    gateway.hold.set()
    assert b"image_generation.completed" in body_of(await wire.rest())


async def test_comments_keep_a_waiting_stream_awake() -> None:
    gateway = FakeGateway(hold=asyncio.Event())
    wire = Wire(served_api(gateway, ping_seconds=0.01).app, GENERATE)
    wire.push(STREAMING)
    await wire.pull()
    assert (await wire.pull())["body"] == b": queue position 0\n\n"
    assert (await wire.pull())["body"] == b": ping\n\n"
    assert gateway.hold is not None
    gateway.hold.set()
    await wire.rest()


@pytest.mark.parametrize("body", [STREAMING, b'{"prompt":"a"}'], ids=["stream", "whole"])
async def test_leaving_closes_the_iterator(body: bytes) -> None:
    gateway = FakeGateway(hold=asyncio.Event())
    served = served_api(gateway)
    wire = Wire(served.app, GENERATE)
    wire.push(body)
    async with asyncio.timeout(20):
        await gateway.began.wait()
    wire.leave()
    await wire.rest()
    assert gateway.closed == 1
    assert len(served.seen) == 1


async def test_a_server_that_drops_the_request_closes_the_iterator() -> None:
    gateway = FakeGateway(hold=asyncio.Event())
    wire = Wire(served_api(gateway).app, GENERATE)
    wire.push(b'{"prompt":"a"}')
    async with asyncio.timeout(20):
        await gateway.began.wait()
    wire.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wire.task
    assert gateway.closed == 1


async def test_a_failed_send_closes_the_iterator() -> None:
    gateway = FakeGateway(hold=asyncio.Event())
    served = served_api(gateway)
    wire = Wire(served.app, GENERATE)
    wire.task.cancel()
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": STREAMING, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop()

    async def send(_: Any) -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await served.app(wire.scope, receive, send)
    assert gateway.closed == 1


async def test_a_refusal_before_the_stream_is_a_plain_error() -> None:
    wire = Wire(served_api(failing(Busy("The line is full.", retry_after_seconds=1.2))).app, GENERATE)
    wire.push(STREAMING)
    start, *rest = await wire.rest()
    assert start["status"] == 429
    assert json.loads(body_of(rest))["error"]["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        (Unavailable("The engine is being restarted."), "The engine is being restarted.", "server_is_overloaded"),
        (EngineFault("Painting failed."), "Painting failed.", "engine_error"),
        (ValueError("/secret/path"), "The server had an error while processing your request.", "server_error"),
    ],
    ids=["unavailable", "engine", "unexpected"],
)
async def test_an_error_in_the_stream_is_nested(error: Exception, message: str, code: str) -> None:
    gateway = FakeGateway(error=error, late=True)
    wire = Wire(served_api(gateway).app, GENERATE)
    wire.push(STREAMING)
    body = body_of(await wire.rest())
    name, payload = events(body)[-1]
    assert name == payload["type"] == "error"
    assert (payload["error"]["message"], payload["error"]["code"]) == (message, code)
    assert b"secret" not in body
    assert gateway.closed == 1


async def test_a_client_that_leaves_while_sending_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    served = served_api()
    wire = Wire(served.app, GENERATE)
    wire.push(b'{"prompt"', more=True)
    wire.leave()
    assert await wire.rest() == []
    assert not caplog.records
    assert (served.seen[0].status, served.gateway.asks) == (499, [])
