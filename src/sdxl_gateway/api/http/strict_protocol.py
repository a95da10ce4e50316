"""Refuses ambiguous HTTP requests, about whose end servers on the way might disagree (request smuggling)."""

from __future__ import annotations

import asyncio
import re
from typing import cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from sdxl_gateway.api.http.addresses import counted_as
from sdxl_gateway.api.http.door import Door
from sdxl_gateway.api.http.errors import error_response
from sdxl_gateway.core.errors import GatewayError, InvalidRequest, Unavailable

MAX_HEADERS = 100
MAX_HEAD_BYTES = 32 * 1024
MAX_HOST_BYTES = 300
# Each chunk costs as much work as kilobytes of body; small ones are for the beginning of a stream, or its end.
FREE_CHUNKS = 1000
MIN_MEAN_CHUNK_BYTES = 64
# What is read, and worked on, in one turn of the loop.
MAX_READ_BYTES = 64 * 1024
LINGER_SECONDS = 2.0
# Any number of these may precede an answer.
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
FIRST_PROBE_SECONDS = 0.05
LAST_PROBE_SECONDS = 5.0

_HOST = re.compile(rb"([A-Za-z0-9._~%-]+|\[[A-Za-z0-9:.%_~-]+\])?(:[0-9]{0,5})?")


def head_problem(request: h11.Request) -> str | None:
    """Why a request's head is refused; None if it is not. Its grammar was checked by the parser."""
    headers = dict(request.headers)
    if request.http_version not in (b"1.0", b"1.1"):
        return "This server speaks HTTP/1.1."
    if len(request.headers) > MAX_HEADERS or _size(request) > MAX_HEAD_BYTES:
        return f"The head of a request has at most {MAX_HEADERS} headers and {MAX_HEAD_BYTES} bytes."
    if b"transfer-encoding" in headers and (b"content-length" in headers or request.http_version == b"1.0"):
        return "A request says its length once: by content-length or, in HTTP/1.1, by transfer-encoding."
    host = headers.get(b"host", b"")
    if len(host) > MAX_HOST_BYTES or not _HOST.fullmatch(host):
        return "The host header is malformed."
    return None


def _size(request: h11.Request) -> int:
    return len(request.target) + sum(len(name) + len(value) for name, value in request.headers)


class StrictConnection(h11.Connection):
    """An h11 connection that is stricter; `problem` is the reason of a refusal, for the client."""

    problem = "This is no valid HTTP/1.1."
    _chunks = 0
    _body_bytes = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """As in h11. Raises RemoteProtocolError for refused heads, and for bodies in tiny chunks."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = self._body_bytes = 0
            self._refuse_if(head_problem(event))
        elif isinstance(event, h11.Data):
            self._refuse_if(self._chunk_problem(event))
        return event

    def _chunk_problem(self, data: h11.Data) -> str | None:
        self._chunks += data.chunk_start
        self._body_bytes += len(data.data)
        if self._chunks > FREE_CHUNKS and self._body_bytes < self._chunks * MIN_MEAN_CHUNK_BYTES:
            return "The body comes in chunks that are too small."
        return None

    def _refuse_if(self, problem: str | None) -> None:
        if problem is not None:
            self.problem = problem
            raise h11.RemoteProtocolError(problem)


class StrictProtocol(H11Protocol):
    """uvicorn's protocol on a StrictConnection; refusals are answered in OpenAI's shape, and the connection closed."""

    conn: StrictConnection
    door = Door()
    _address = ""
    _inside = False
    _leaving = False
    _probing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As in asyncio, with smaller reads."""
        super().connection_made(cast(asyncio.Transport, transport))
        limit = self.config.h11_max_incomplete_event_size or MAX_HEAD_BYTES
        self.conn = StrictConnection(h11.SERVER, limit)
        if hasattr(transport, "max_size"):
            transport.max_size = MAX_READ_BYTES
        self._address = counted_as(self.client[0]) if self.client else ""
        self._inside = self.door.enter(self._address)
        if not self._inside:
            self._turn_away()

    def connection_lost(self, exc: Exception | None) -> None:
        """As in asyncio."""
        if self._inside:
            self.door.leave(self._address)
        elif self._leaving:
            self.door.end_lingering()
        if self._probing is not None:
            self._probing.cancel()
        super().connection_lost(exc)

    def _turn_away(self) -> None:
        if self.door.begin_lingering():
            self.refuse(Unavailable("The server has as many connections open as it may have."))
        else:
            self.transport.abort()

    # uvicorn says that its own gives None; asyncio keeps the connection open for True.
    def eof_received(self) -> bool | None:  # type: ignore[override]
        """A client that sends no more may still wait for an answer: the connection stays open, and is probed."""
        if self._leaving or not self._is_awaited():
            return None
        self.cycle.keep_alive = False
        self._probe(FIRST_PROBE_SECONDS)
        return True

    def _is_awaited(self) -> bool:
        """Whether a complete request was read and its answer has not begun."""
        cycle = self.cycle
        return cycle is not None and not (cycle.more_body or cycle.response_started or cycle.response_complete)

    def _probe(self, seconds: float) -> None:
        """Probe the client: one that is gone, not only silent, resets the connection, as the next probe notices."""
        if self._is_awaited() and not self.transport.is_closing():
            if self.scope["http_version"] == "1.1":
                self.transport.write(CONTINUE)
            self._probing = self.loop.call_later(seconds, self._probe, min(2 * seconds, LAST_PROBE_SECONDS))

    def data_received(self, data: bytes) -> None:
        """As in asyncio; after a refusal nothing more is read."""
        if not self._leaving:
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn for whatever is no valid request."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.refuse(InvalidRequest(self.conn.problem, code="invalid_http"))
        else:
            self.transport.close()

    def refuse(self, error: GatewayError) -> None:
        """Answer and close; what still arrives is read for a while, as otherwise the system discards the answer."""
        self._leaving = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.flow.resume_reading()
        self.transport.write(_as_http(error))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)


def _as_http(error: GatewayError) -> bytes:
    """A complete answer, for when no request was handed on."""
    response = error_response(error, {"connection": "close"})
    head = b"".join(b"%b: %b\r\n" % header for header in response.raw_headers)
    return b"HTTP/1.1 %d \r\n%b\r\n%b" % (response.status_code, head, bytes(response.body))
