"""Servers that are started by the command line on a free loopback port, each in a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx

from sdxl_gateway.config import DEMO_LORAS
from tests.kit.device import DEVICE
from tests.kit.loopback import loopback

PATIENCE_SECONDS = 120.0
TROUBLE = re.compile(r"Traceback|\[(?:error|critical)\s*\].*", re.IGNORECASE)
"""Lines that a log should not have as long as only requests happen."""
T = TypeVar("T")


@dataclass(frozen=True)
class Server:
    """A running server: its address, its folder (`loras/`, `data/`, `log`), its process."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def loras(self) -> Path:
        return self.folder / "loras"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")

    def engine_pid(self) -> int:
        """The id of the one engine process that is alive now."""
        living = self.engine_pids()
        if len(living) != 1:
            raise LookupError(f"engine processes alive: {living}")
        return living[0]

    def engine_pids(self) -> list[int]:
        """The ids of all engine processes that are alive now, in the order in which they were started."""
        return [pid for pid in map(int, re.findall(r"engine process (\d+) started", self.log)) if is_alive(pid)]

    def decoder_pids(self) -> list[int]:
        """The ids of the decoding processes that are alive now, likewise."""
        return [pid for pid in map(int, re.findall(r"decoding process (\d+) started", self.log)) if is_alive(pid)]

    def metric(self, series: str) -> float:
        """The value of one series, given as in the exposition format; 0 if it does not exist."""
        text = loopback.get(f"{self.url}/metrics").text
        found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def is_idle(self) -> bool:
        return self.metric("sdxl_gateway_requests_in_flight") == self.metric("sdxl_gateway_queue_depth") == 0


def is_alive(pid: int) -> bool:
    """Whether the process runs; false for a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(what: Callable[[], T], *, seconds: float = PATIENCE_SECONDS, every: float = 0.02) -> T:
    """Call repeatedly until the value is true; that value. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not (value := what()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(every)
    return value


@contextmanager
def server(folder: Path, output: int | None = None, **settings: str) -> Iterator[Server]:
    """A ready server; `settings` are keys such as `limits__queue_size`.

    What it prints goes to its log, or to the file descriptor `output`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (
        (folder / "log").open("wb") as log,
        started(folder, log.fileno() if output is None else output, settings) as one,
    ):
        until(lambda: readiness(one) == 200)
        yield one


@contextmanager
def started(folder: Path, output: int, settings: dict[str, str], *flags: str) -> Iterator[Server]:
    """As `server`, but it need not be ready yet; may be called again for the same folder after it has ended."""
    shutil.copytree(DEMO_LORAS, folder / "loras", dirs_exist_ok=True)
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "sdxl_gateway", "serve", "--port", str(port), *flags],
        cwd=folder,
        env=environment(settings),
        stdout=output,
        stderr=subprocess.STDOUT,
    )
    try:
        yield Server(f"http://127.0.0.1:{port}", folder, process)
    finally:
        _end(process)


def environment(settings: dict[str, str]) -> dict[str, str]:
    """A server's environment: this process's, without settings of a server from outside."""
    kept = {key: value for key, value in os.environ.items() if not key.upper().startswith("SDXL_GATEWAY__")}
    asked = {f"SDXL_GATEWAY__{key.upper()}": value for key, value in settings.items()}
    fixed = {"SDXL_GATEWAY__ENGINE__DEVICE": DEVICE, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    fixed["SDXL_GATEWAY__ENGINE__COMPILED_SIZES"] = ""
    fixed["SDXL_GATEWAY__RESULTS__CACHE"] = "off"  # because tests compare what is painted twice
    return {**kept, **fixed, **asked}


def readiness(one: Server) -> int:
    """The status of /readyz, 0 while nothing listens. Raises RuntimeError if the server has ended."""
    if one.process.poll() is not None:
        raise RuntimeError(f"the server ended with status {one.process.returncode}:\n{one.log}")
    try:
        return loopback.get(f"{one.url}/readyz", timeout=10).status_code
    except httpx.TransportError:
        return 0


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=40)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
