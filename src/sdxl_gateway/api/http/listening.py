"""Listening sockets that survive a lack of file descriptors."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

from sdxl_gateway.core.errors import StartProblem

log = logging.getLogger(__name__)

Address = tuple[int, Any]
"""An address family, and an address of that family."""

AUTO_CONNECTIONS = 4096
_SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# Less than the second after which asyncio listens again.
_PAUSE_SECONDS = 0.5


class Listener(socket.socket):
    """A listening socket. When a connection cannot be accepted, asyncio would retry, log and set a timer for each one
    in the backlog; this socket reports no connections for half a second after the first failure.
    """

    _closed_until = 0.0

    def accept(self) -> tuple[socket.socket, Any]:
        """As usual, but raises BlockingIOError for a while after it failed for lack of descriptors."""
        if time.monotonic() < self._closed_until:
            raise BlockingIOError
        try:
            return super().accept()
        except OSError as error:
            if error.errno in _SCARCE:
                self._closed_until = time.monotonic() + _PAUSE_SECONDS
            raise


def bound(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of the host that this machine has, not listening yet. Raises StartProblem."""
    with ExitStack() as undo:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            addresses = dict.fromkeys((family, address) for family, _, _, _, address in found)
            listeners = [undo.enter_context(_bound(*address)) for address in _here(addresses)]
        except OSError as error:
            raise StartProblem(f"Cannot listen on {host}, port {port}: {error.strerror or error}.") from None
        undo.pop_all()
    return list(listeners)


def _here(addresses: Iterable[Address]) -> list[Address]:
    """Names such as localhost have addresses of families that a machine may lack; the first is told of if all are."""
    every = list(addresses)
    return [address for address in every if _exists(*address)] or every


def _exists(family: int, address: Any) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address[0], 0, *address[2:]))
    except OSError as error:
        return error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
    return True


def _bound(family: int, address: Any) -> Listener:
    # asyncio sends at once what it is given, rather than wait 40 ms for an acknowledgment, only where this is said.
    listener = Listener(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def connections_for(descriptors: int) -> int:
    """How many connections a process may have, if the system allows it that many descriptors."""
    return min(descriptors * 3 // 4, AUTO_CONNECTIONS)


def on_loop_problem(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A handler of asyncio's unhandled errors; a lack of descriptors is logged in one line each second."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in _SCARCE and "socket" in context:
        log.warning("out of file descriptors: new connections wait")
    else:
        loop.default_exception_handler(context)
