"""Serves an ASGI application on sockets until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator
from contextlib import contextmanager, suppress
from math import ceil
from resource import RLIMIT_NOFILE, getrlimit
from socket import socket
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from sdxl_gateway.api.http.closing import LAST_WORDS_SECONDS, Closing
from sdxl_gateway.api.http.door import Door
from sdxl_gateway.api.http.listening import connections_for, on_loop_problem
from sdxl_gateway.api.http.receive_timeout import protocol_with_timeout
from sdxl_gateway.config import Server
from sdxl_gateway.core.errors import CLOSING
from sdxl_gateway.core.ports import Backend
from sdxl_gateway.telemetry.log_writer import flush_logs

log = logging.getLogger(__name__)


def http_config(server: Server, application: ASGIApp) -> uvicorn.Config:
    """uvicorn's settings, from the `[server]` section."""
    return uvicorn.Config(
        application,
        host=server.host,
        port=server.port,
        http=protocol_with_timeout(server.receive_timeout_seconds, _door(server)),
        timeout_keep_alive=ceil(server.keep_alive_seconds),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=ceil(server.shutdown_grace_seconds + LAST_WORDS_SECONDS),
    )


def _door(server: Server) -> Door:
    asked = server.max_connections
    most = connections_for(getrlimit(RLIMIT_NOFILE)[0]) if asked == "auto" else asked
    return Door(most, server.max_connections_per_address)


class HttpServer(uvicorn.Server):
    """At the end of the grace period, or at a second signal, those who still wait are answered; uvicorn would hang up.

    `closing` answers requests that have not arrived completely, `backend` ends the jobs.
    """

    def __init__(self, config: uvicorn.Config, closing: Closing, backend: Backend, grace_seconds: float) -> None:
        super().__init__(config)
        self._closing = closing
        self._backend = backend
        self._grace_seconds = grace_seconds
        self._hurry = asyncio.Event()

    async def serve(self, sockets: list[socket] | None = None) -> None:
        """Serve on these sockets, until a signal."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the end, the second hurries it. May run between any two lines of the server."""
        if self.should_exit:
            self._loop.call_soon_threadsafe(self._hurry.set)
        else:
            super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """After the context, the signal that stopped the server ends the process, at once."""
        with super().capture_signals():
            yield
            flush_logs()

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Begin to listen, in a way that survives a lack of file descriptors."""
        asyncio.get_running_loop().set_exception_handler(on_loop_problem)
        await super().startup(sockets)
        self._log_started_message(sockets or ())

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Let running requests end within the grace period."""
        ending = asyncio.create_task(self._end_waiting())
        try:
            await super().shutdown(sockets)
        finally:
            ending.cancel()

    async def _end_waiting(self) -> None:
        """Runs until the server has ended, so that a second signal hurries the engine too."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._grace_seconds):
                await self._hurry.wait()
        self._closing.begin()
        self._backend.drain(CLOSING)
        await self._hurry.wait()
        log.warning("told to end at once")
        await asyncio.gather(self._backend.stop(LAST_WORDS_SECONDS), self._hang_up())

    async def _hang_up(self) -> None:
        await asyncio.sleep(LAST_WORDS_SECONDS)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
