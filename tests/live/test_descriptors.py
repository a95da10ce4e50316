"""A server that has no file descriptors left waits without a fuss, and comes back by itself."""

from __future__ import annotations

import os
import resource
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.kit.loopback import loopback
from tests.kit.servers import Server, server, until

SECONDS = 2.0


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def address(one: Server) -> tuple[str, int]:
    parts = urlsplit(one.url)
    return str(parts.hostname), int(parts.port or 0)


def alive(one: Server) -> bool:
    try:
        return loopback.get(f"{one.url}/healthz", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def test_it_outlives_a_lack_of_descriptors(tmp_path: Path) -> None:
    with server(tmp_path) as one, ExitStack() as stack:
        pid, logged = one.process.pid, len(one.log)
        used = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 8, before[1]))
        held = [stack.enter_context(socket.create_connection(address(one))) for _ in range(20)]
        until(lambda: "out of file descriptors" in one.log)

        spent = cpu_seconds(pid)
        time.sleep(SECONDS)
        assert cpu_seconds(pid) - spent < SECONDS / 2
        assert len(one.log) - logged < 200 * (SECONDS + 30)

        for connection in held:
            connection.close()
        until(lambda: alive(one))


def test_it_turns_away_what_it_cannot_hold(tmp_path: Path) -> None:
    with server(tmp_path, server__max_connections="20") as one, ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(address(one))) for _ in range(20)]
        until(lambda: loopback.get(f"{one.url}/healthz").status_code == 503)
        refusal = loopback.get(f"{one.url}/v1/models")
        assert refusal.status_code == 503
        assert refusal.json()["error"]["type"] == "service_unavailable_error"
        assert int(refusal.headers["retry-after"]) >= 1
        for connection in held:
            connection.close()
        until(lambda: alive(one))
