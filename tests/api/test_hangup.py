"""SIGHUP has the settings read again, unless it came because the terminal is gone."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

PROGRAM = """
import asyncio, sys
from sdxl_gateway.api.http.hangup import on_hangup

async def main():
    on_hangup(lambda: print("read again", flush=True))
    print("ready", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def _take_terminal() -> None:
    """Standard input becomes the terminal of the session that just began."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def _started(stdin: int, *, in_terminal: bool) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PROGRAM]
    prepare = _take_terminal if in_terminal else None
    with subprocess.Popen(
        command, stdin=stdin, stdout=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=prepare
    ) as process:
        try:
            assert _line(process) == "ready"
            yield process
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("in_terminal", [True, False])
def test_who_is_asked_reads_again_as_often_as_asked(in_terminal: bool) -> None:
    ours, theirs = os.openpty()
    with _started(theirs if in_terminal else subprocess.DEVNULL, in_terminal=in_terminal) as process:
        for _ in range(2):
            process.send_signal(signal.SIGHUP)
            assert _line(process) == "read again"
        assert process.poll() is None
    os.close(ours)
    os.close(theirs)


def test_who_was_started_in_a_terminal_ends_with_it() -> None:
    ours, theirs = os.openpty()
    with _started(theirs, in_terminal=True) as process:
        os.close(theirs)
        os.close(ours)
        assert process.wait(20) == -signal.SIGTERM
