"""A small Ray cluster of one node, only reachable from this machine."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.kit.servers import environment, free_port, until

ROOT = Path(__file__).parents[2]
OBJECT_STORE_BYTES = 200 * 2**20


def needs_ray() -> None:
    """Skip the test if ray is not installed."""
    if find_spec("ray") is None:
        pytest.skip("ray is not installed: pip install 'sdxl-gateway[cluster]'")


@contextmanager
def ray_cluster(cpus: int = 4) -> Iterator[str]:
    """The cluster's address. Its token is in the environment meanwhile; without it nobody can connect."""
    port, own = free_port(), {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    own |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0"}
    own["PYTHONPATH"] = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        node = subprocess.Popen(
            [*_start(port, cpus), "--temp-dir", folder],
            env=environment({}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            until(lambda: _listens(port) or node.poll() is not None)
            yield f"127.0.0.1:{port}"
        finally:
            _end(node)
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def _start(port: int, cpus: int) -> list[str]:
    options = {
        "--port": port,
        "--num-cpus": cpus,
        "--num-gpus": 0,
        "--object-store-memory": OBJECT_STORE_BYTES,
        "--include-dashboard": "false",
    }
    words = [str(word) for option in options.items() for word in option]
    return [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *words]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _end(node: subprocess.Popen[bytes]) -> None:
    node.terminate()
    try:
        node.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()


def _processes() -> dict[int, bytes]:
    """The command lines of this cluster's processes, which are those with its token."""
    own = f"RAY_AUTH_TOKEN={os.environ['RAY_AUTH_TOKEN']}".encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if own in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes()
    return found


def engine_actors() -> list[int]:
    """The process ids of the actors that gateways call, each of which owns an engine process."""
    return [pid for pid, command in _processes().items() if command.startswith(b"ray::EngineActor")]


def open_ports() -> list[str]:
    """Lines about the cluster's ports that can be reached from other machines."""
    pids = {f"pid={pid}," for pid in _processes()}
    lines = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [
        line
        for line in lines
        if any(pid in line for pid in pids)
        and "127.0.0.1]:" not in line.split()[3]
        and not line.split()[3].startswith("127.0.0.1:")
    ]
