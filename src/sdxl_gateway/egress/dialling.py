"""Takes a host and a port, gives a connection to a public address, checked before dialling and again once connected."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpcore

from sdxl_gateway.egress.addresses import is_public
from sdxl_gateway.egress.errors import EgressFailed, EgressRefused

Resolve = Callable[[str, int], Sequence[str]]
"""A host's addresses, in the order to try them; may raise OSError or UnicodeError."""

THREADS = 8
"""Concurrent name look-ups, in threads of their own: a name server that does not answer delays nothing else."""
CONNECT_SECONDS = 5.0
"""The timeout for each of a host's addresses."""
NOT_PUBLIC = "its host has an address that is not on the public internet"


def system_resolve(host: str, port: int) -> list[str]:
    """By the system's resolver."""
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in infos))


class GuardedDialler(httpcore.AsyncNetworkBackend):
    """Resolves a name once for each connection, and dials only the addresses that were checked.

    `private` are hosts, or `host:port`, to which the operator allows connections at any address.
    """

    def __init__(
        self,
        private: Iterable[str] = (),
        resolve: Resolve = system_resolve,
        dial: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._private = frozenset(private)
        self._resolve = resolve
        self._dial = dial or httpcore.AnyIOBackend()
        self._threads = ThreadPoolExecutor(THREADS, "names")

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - as httpcore calls it
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises EgressRefused if any of the host's addresses, or the peer's, is not public."""
        trusted = bool({host, f"{host}:{port}"} & self._private)
        addresses = await self._addresses(host, port)
        if not (trusted or all(map(is_public, addresses))):
            raise EgressRefused(NOT_PUBLIC)
        stream = await self._first(addresses, port)
        if not (trusted or is_public(_peer(stream))):
            await stream.aclose()
            raise EgressRefused(NOT_PUBLIC)
        return stream

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = await asyncio.wrap_future(self._threads.submit(self._resolve, host, port))
        except (OSError, UnicodeError):
            addresses = ()
        if not addresses:
            raise EgressFailed("its host is not known")
        return addresses

    async def _first(self, addresses: Sequence[str], port: int) -> httpcore.AsyncNetworkStream:
        """A connection to the first address that accepts one."""
        for address in addresses:
            try:
                return await self._dial.connect_tcp(address, port, timeout=CONNECT_SECONDS)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        raise EgressFailed("its server cannot be reached")


def _peer(stream: httpcore.AsyncNetworkStream) -> str:
    """The peer's address, by the connected socket; empty if it has none."""
    address = stream.get_extra_info("server_addr")
    return str(address[0]) if isinstance(address, tuple) else ""
