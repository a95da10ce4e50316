"""Fuzz targets: what comes before a body, the head as it is sent and the values in it that mean something here."""

from __future__ import annotations

from itertools import zip_longest

import h11
from starlette.datastructures import Headers
from starlette.requests import Request

from sdxl_gateway.api.asks.idempotency import HEADER, idempotency_key
from sdxl_gateway.api.asks.pages import Page
from sdxl_gateway.api.asks.preferences import prefers_job
from sdxl_gateway.api.http.paths import tidy_path, with_slashes
from sdxl_gateway.api.http.strict_protocol import StrictConnection
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.trace import Trace
from sdxl_gateway.gateway.live_job import NewsId
from tests.fuzz.bodies import pieces
from tests.kit.images import signer

FIELDS = ("traceparent", "tracestate", "last-event-id", HEADER, "prefer", "query", "path")
"""A line each, in this order."""
SIGNER = signer()


def http_head(data: bytes) -> None:
    """A request as it comes over a connection."""
    connection = StrictConnection(h11.SERVER, 2**14)
    try:
        for piece in pieces(data):
            connection.receive_data(piece)
            while connection.next_event() not in (h11.NEED_DATA, h11.PAUSED):
                pass
    except h11.RemoteProtocolError as error:
        raise InvalidRequest(connection.problem) from error


def header_fields(data: bytes) -> None:
    """Header fields, the query and the path, each as it is read."""
    said = dict(zip_longest(FIELDS, data.split(b"\n")[: len(FIELDS)], fillvalue=b""))
    texts = {name: value.decode("latin-1") for name, value in said.items()}
    headers = Headers({name: texts[name] for name in FIELDS[3:5]}).raw
    request = Request({"type": "http", "headers": headers, "query_string": said["query"]})
    if (trace := Trace.read(texts["traceparent"], texts["tracestate"])) is not None:
        assert Trace.read(trace.header, trace.state) == trace
    NewsId.of(texts["last-event-id"])
    prefers_job(request)
    name, asked = with_slashes(tidy_path(said["path"])), request.query_params
    idempotency_key(request)
    Page.of(request)
    SIGNER.remaining_seconds(name, asked.get("expires", ""), asked.get("signature", ""))
