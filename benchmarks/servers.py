"""Takes a command line, gives a server on a free loopback port for as long as the context is open."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

ROOT = Path(__file__).parents[1]
START_SECONDS = 900.0
"""Compiling a UNet takes minutes; a server that ends instead is noticed at once."""


@contextmanager
def gateway(threads: int, root: Path = ROOT, **more: str) -> Iterator[str]:
    """The address of a gateway painting the demo model with this many torch threads; `more` is environment.

    `root` is the checkout whose code serves.
    """
    with TemporaryDirectory() as data:
        settings = {
            "SDXL_GATEWAY__DATA_DIRECTORY": data,
            "SDXL_GATEWAY__ENGINE__THREADS": str(threads),
            "SDXL_GATEWAY__ENGINE__DEVICE": "cpu",
            "SDXL_GATEWAY__TELEMETRY__LOG_LEVEL": "error",
            "PYTHONPATH": str(root / "src"),
            **_without_cache(root),
            **more,
        }
        port = free_port()
        command = [sys.executable, "-m", "sdxl_gateway", "serve", "--host", "127.0.0.1", "--port", str(port)]
        with running(command, settings, threads, port, root=root) as url:
            yield url


def _without_cache(root: Path) -> dict[str, str]:
    """Checkouts from before there was a cache of results refuse to start with a setting they do not know."""
    return {"SDXL_GATEWAY__RESULTS__CACHE": "off"} if (root / "src/sdxl_gateway/config/results.py").exists() else {}


@contextmanager
def plain_server(threads: int, *more: str) -> Iterator[str]:
    """The address of benchmarks.plain_server on the same model; `more` is flags."""
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.plain_server", "--port", str(port)]
    command += ["--threads", str(threads), *more]
    with running(command, {}, threads, port) as url:
        yield url


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str],
    settings: Mapping[str, str],
    threads: int,
    port: int,
    ready: str = "/readyz",
    quiet: bool = False,
    root: Path = ROOT,
) -> Iterator[str]:
    """The address of what the command serves on the port, once a GET of `ready` is answered with 200."""
    environment = {**os.environ, **settings, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    stderr = subprocess.DEVNULL if quiet else None
    process = subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=stderr)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(process, f"{url}{ready}")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}")
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} was not ready within {START_SECONDS:.0f} s")
