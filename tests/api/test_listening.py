"""Tests api/http/listening.py: a lack of descriptors is waited out, and an address that is taken is a sentence."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sdxl_gateway.api.http.listening import AUTO_CONNECTIONS, Listener, bound, connections_for
from sdxl_gateway.core.errors import StartProblem


@contextmanager
def listeners(host: str, port: int = 0) -> Iterator[list[socket.socket]]:
    found = bound(host, port)
    try:
        yield found
    finally:
        for one in found:
            one.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_a_host_is_listened_on(host: str) -> None:
    with listeners(host) as found:
        found[0].listen(1)
        with socket.create_connection(("127.0.0.1", found[0].getsockname()[1])):
            assert all(isinstance(one, Listener) for one in found)


async def test_what_is_written_leaves_at_once() -> None:
    with listeners("127.0.0.1") as found:
        server = await asyncio.start_server(lambda _, writer: delays.put_nowait(no_delay(writer)), sock=found[0])
        delays: asyncio.Queue[int] = asyncio.Queue()
        with socket.create_connection(found[0].getsockname()):
            assert await delays.get() == 1
        server.close()


def no_delay(writer: asyncio.StreamWriter) -> int:
    option: int = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    writer.close()
    return option


def test_an_address_that_is_taken_is_told() -> None:
    with listeners("127.0.0.1") as found:
        found[0].listen(1)
        port = found[0].getsockname()[1]
        with pytest.raises(StartProblem, match=f"Cannot listen on 127.0.0.1, port {port}: Address already in use"):
            bound("127.0.0.1", port)


def test_addresses_that_the_machine_lacks_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))
    here = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [elsewhere, here])
    with listeners("both") as found:
        assert [one.getsockname()[0] for one in found] == ["127.0.0.1"]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [elsewhere])
    with pytest.raises(StartProblem, match="Cannot listen on elsewhere"):
        bound("elsewhere", 0)


def test_without_descriptors_it_raises_once_and_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    scarce = OSError(errno.EMFILE, "too many")
    with listeners("127.0.0.1") as found:
        found[0].listen(1)
        with monkeypatch.context() as without:
            without.setattr(socket.socket, "accept", _raising(scarce))
            with pytest.raises(OSError, match="too many"):
                found[0].accept()
            for _ in range(3):
                with pytest.raises(BlockingIOError):
                    found[0].accept()
        now += 1.0
        with socket.create_connection(found[0].getsockname()):
            found[0].accept()[0].close()


def _raising(error: OSError) -> object:
    def accept(_: socket.socket) -> None:
        raise error

    return accept


def test_connections_leave_descriptors_for_the_rest() -> None:
    assert [connections_for(count) for count in (64, 1024, 2**20)] == [48, 768, AUTO_CONNECTIONS]
