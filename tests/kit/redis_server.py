"""A redis-server for a test: on a socket in its folder, started, stopped and filled as the test wants."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from sdxl_gateway.config import Auth, Delivery, Redis

PATIENCE_SECONDS = 20.0
MISSING = (
    "redis-server comes with Debian's package redis-server"
    if shutil.which("redis-server") is None
    else "the extra redis is not installed"
    if importlib.util.find_spec("redis") is None
    else None
)
"""Why it cannot run here; None if it can."""


@dataclass
class RedisServer:
    """One server, at the address `url`; its socket is in `folder`. Gateways wait `timeout_seconds` for it: long, so
    that a slow machine does not look like a failure."""

    folder: Path
    options: tuple[str, ...] = ()
    timeout_seconds: float = 20.0
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def sections(self) -> dict[str, Any]:
        """The settings of a gateway that shares through it."""
        return {
            "redis": Redis(url=SecretStr(self.url), timeout_seconds=self.timeout_seconds),
            "auth": Auth(pepper=SecretStr("p" * 32), allow_anonymous=True),
            "delivery": Delivery(url_key=SecretStr("u" * 32)),
        }

    def start(self) -> None:
        """Start it, empty unless `options` make it keep its data."""
        where = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", ""]
        self._process = subprocess.Popen(
            ["redis-server", *where, *self.options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + PATIENCE_SECONDS
        while self.cli("PING") != "PONG":
            assert time.monotonic() < end, "redis-server did not start"
            time.sleep(0.02)

    def stop(self) -> None:
        """Kill it, as by a power cut."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Suspend it, so that it exists but answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def fill(self) -> None:
        """From now on it has no room for more data."""
        self.cli("CONFIG", "SET", "maxmemory-policy", "noeviction")
        self.cli("CONFIG", "SET", "maxmemory", "1")

    def empty_out(self) -> None:
        """There is room again."""
        self.cli("CONFIG", "SET", "maxmemory", "0")

    def cli(self, *words: str) -> str:
        """The answer to a command, as text."""
        told = subprocess.run(["redis-cli", "-s", str(self.socket), *words], capture_output=True, text=True, timeout=20)
        return told.stdout.strip()


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    """A server that runs until the context is left."""
    server = RedisServer(folder, options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
