"""Takes the limits of a picture, gives a decoding process, used by one thread at a time but killed by any."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Literal

from sdxl_gateway.config import Limits
from sdxl_gateway.decoding.memory import passed
from sdxl_gateway.decoding.messages import Message, Question, Ready
from sdxl_gateway.decoding.wire import receive, send
from sdxl_gateway.ipc.codec import Malformed

COMMAND = (sys.executable, "-m", "sdxl_gateway.decoding.child")
START_SECONDS = 60.0
PATIENCE = 3.0
"""The wait for an answer, as a multiple of the CPU time a picture may take, since the machine may be busy."""
LIFE_PICTURES = 1000
"""Then the process is replaced, which frees whatever a library leaked or an attacker left in it."""
RESIDENT_BYTES = 96 * 2**20
"""Five times what a new process has; one that holds more between two pictures is ended."""
ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL")
"""The only variables passed on from the server's environment, which may hold keys."""


class Lost(Exception):
    """The process exceeded its CPU time or the wait for its answer ("late"), or ended otherwise ("died")."""

    def __init__(self, reason: Literal["late", "died"]) -> None:
        super().__init__(reason)
        self.reason: Literal["late", "died"] = reason


class DecoderProcess:
    """A running process; call `wait` before the first `ask`."""

    def __init__(self, limits: Limits) -> None:
        """Raises OSError when no process can be started."""
        self._pictures = 0
        self._seconds = PATIENCE * limits.decode_seconds
        self._end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            try:
                self._process = _start(theirs.fileno(), limits)
            except OSError:
                self._end.close()
                raise

    @property
    def pid(self) -> int:
        """Of the process, also after it has ended."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """It has not ended."""
        return self._process.poll() is None

    @property
    def worn(self) -> bool:
        """It should be replaced: it has decoded enough pictures, or holds too much memory between two of them."""
        return self._pictures >= LIFE_PICTURES or _resident_bytes(self.pid) > RESIDENT_BYTES

    def wait(self) -> None:
        """Until it is ready. Raises Lost."""
        if not isinstance(self._receive(START_SECONDS)[0], Ready):
            raise Lost("died")

    def ask(self, question: Question, data: bytes) -> tuple[Message, int | None]:
        """The answer, and the descriptor of the memory sent along, if any. Raises Lost."""
        self._pictures += 1
        with passed(data) as memory:
            try:
                send(self._end, question, memory)
            except OSError as problem:
                raise Lost("died") from problem
        return self._receive(self._seconds)

    def _receive(self, seconds: float) -> tuple[Message, int | None]:
        try:
            return receive(self._end, seconds)
        except TimeoutError as problem:
            raise Lost("late") from problem
        except EOFError as problem:
            raise Lost("late" if self.end() == -signal.SIGXCPU else "died") from problem
        except Malformed as problem:
            raise Lost("died") from problem

    def kill(self) -> None:
        """Returns at once; an `ask` in progress raises Lost."""
        self._process.kill()

    def end(self) -> int:
        """Kill it, wait for it, and give its exit status; safe to repeat."""
        self._process.kill()
        status = self._process.wait()
        self._end.close()
        return status


def _start(fd: int, limits: Limits) -> subprocess.Popen[bytes]:
    """It inherits that descriptor and no other."""
    arguments = [f"--fd={fd}", f"--max-pixels={limits.max_input_pixels}", f"--seconds={limits.decode_seconds}"]
    return subprocess.Popen(  # noqa: S603 (a program of our own)
        [*COMMAND, *arguments],
        pass_fds=(fd,),
        stdin=subprocess.DEVNULL,
        # A full pipe would block the process, and codecs' messages about hostile pictures belong in no log.
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
    )


def _resident_bytes(pid: int) -> int:
    """0 on systems without /proc."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
