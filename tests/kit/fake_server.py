"""A whole server in a process of its own, whose engine process paints grey immediately."""

from __future__ import annotations

import multiprocessing
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from sdxl_gateway.app import build_app
from sdxl_gateway.backends.process.backend import ProcessBackend
from sdxl_gateway.backends.process.each_device import for_each_device
from sdxl_gateway.config import DEMO_LORAS, Egress, Engine, EngineProcess, Limits, Loras, Settings, Webhooks
from sdxl_gateway.core.listeners import EngineListener
from sdxl_gateway.webhooks import sender
from tests.kit.loopback import loopback
from tests.kit.servers import is_alive, until

FAKE = (sys.executable, "-m", "tests.backends.fake_engine_process")
PROCESSES = multiprocessing.get_context("forkserver")
"""A context in which modules are imported once for all servers."""
PROCESSES.set_forkserver_preload([__name__])


def backend(
    engine: EngineProcess, limits: Limits, listener: EngineListener, *, flags: Sequence[str] = ()
) -> ProcessBackend:
    """The backend of a server, except for what its processes run."""
    devices, command = for_each_device(engine), (*FAKE, *flags)
    return ProcessBackend(devices, queue_size=limits.queue_size, listener=listener, command=command)


@contextmanager
def started(
    folder: Path, receiver: str, devices: Sequence[str] = (), owls: int | None = None, **sections: Any
) -> Iterator[tuple[str, BaseProcess]]:
    """Its address, once it is ready, and its process; killed at the end if it still runs.

    It may send webhooks to `receiver`, a host:port. With several `devices` it has an engine process for each; an engine
    process completes at most `owls` jobs that ask for owls. `sections` are further sections of its settings.
    """
    flags = () if owls is None else ("--owls", f"{owls}")
    with _listening() as (url, listener):
        asked = folder, listener, receiver, tuple(devices), flags, sections
        process = PROCESSES.Process(target=_serve, args=asked)
        process.start()
    try:
        until(lambda: _ready(url))
        yield url, process
    finally:
        process.kill()
        process.join()


@contextmanager
def _listening() -> Iterator[tuple[str, socket.socket]]:
    """A free address, and its listening socket, which is then handed to another process."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", listener


def engines(server: BaseProcess) -> list[int]:
    """The ids of the running engine processes that this server started."""
    return [pid for pid in _children(server.pid) if b"fake_engine_process" in _command(pid) and is_alive(pid)]


def _serve(
    folder: Path,
    listener: socket.socket,
    receiver: str,
    devices: tuple[str, ...],
    flags: tuple[str, ...],
    sections: dict[str, Any],
) -> None:
    sender.LEASE_SECONDS = 0.5  # on top of the timeout: no test waits a minute for a killed server's work
    settings = Settings(
        data_directory=folder / "data",
        loras=Loras(directory=DEMO_LORAS, watch=False),
        engine=Engine(devices=devices, restart_backoff_seconds=0.05),
        egress=Egress(private_hosts=(receiver,)),
        webhooks=Webhooks(timeout_seconds=2.0),
        **sections,
    )
    app = build_app(settings, partial(backend, flags=flags))
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run([listener])


def _ready(url: str) -> bool:
    with suppress(httpx.TransportError):
        return loopback.get(f"{url}/readyz").status_code == 200
    return False


def _children(parent: int | None) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
