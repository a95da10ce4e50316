"""A balancer that forwards connections to one of several servers: always the same one until `turn`."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle
from threading import Thread

CHUNK_BYTES = 64 * 2**10


class Balancer:
    """Listens at `url`; servers are given by their ports on this machine."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._turns = cycle(ports)
        self._port = next(self._turns)
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        Thread(target=self._accept, daemon=True).start()

    def turn(self) -> None:
        """Switch to the next server, and close existing connections."""
        self._port = next(self._turns)
        ended, self._open = self._open, []
        for one in ended:
            _end(one)

    def close(self) -> None:
        """Stop listening."""
        _end(self._listener)
        self.turn()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                self._open += client, server
                for one, other in ((client, server), (server, client)):
                    Thread(target=_pass_on, args=(one, other), daemon=True).start()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while chunk := one.recv(CHUNK_BYTES):
            other.sendall(chunk)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@contextmanager
def balanced(ports: Sequence[int]) -> Iterator[Balancer]:
    """A balancer before these servers."""
    one = Balancer(ports)
    try:
        yield one
    finally:
        one.close()
