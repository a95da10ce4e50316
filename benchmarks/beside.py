"""Takes works that measure, each for a process of its own, gives their rows as they come and how each of them ended.

What a work does to its process, its device's memory or its compiler is nothing to the others, and all it started ends
with it.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from typing import Any

from benchmarks.figures import Row
from benchmarks.record import WHOLE

Work = Callable[[], Iterable[Row]]
ENDING_SECONDS = 10.0
"""For a process that has told everything to end by itself."""


def measured(context: BaseContext, works: Mapping[str, Work], seconds: float) -> Iterator[tuple[str, Row | str]]:
    """Of all works at once, each with its name; WHOLE, or what went wrong, is the last of each."""
    until = time.monotonic() + seconds
    running = {name: _started(context, work) for name, work in works.items()}
    coming: dict[Any, str] = {told: name for name, (_, told) in running.items()}
    try:
        while coming and (ready := wait(list(coming), max(until - time.monotonic(), 0.0))):
            for told in ready:
                found = _next(told)
                yield coming[told], found
                if isinstance(found, str):
                    del coming[told]
        yield from ((name, f"cut off after {seconds:.0f} s") for name in coming.values())
    finally:
        for process, told in running.values():
            _ended(process, patience_seconds=0.0 if told in coming else ENDING_SECONDS)


def _started(context: Any, work: Work) -> tuple[Any, Connection]:
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(work, theirs))
    process.start()
    theirs.close()
    return process, mine


def _next(told: Any) -> Row | str:
    try:
        found: Row | str = told.recv()
    except EOFError:
        return "its process was lost"
    return found


def _ended(process: Any, patience_seconds: float) -> None:
    process.join(patience_seconds)
    # A group of its own has its number from the process that leads it.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()


def _tell(work: Work, to: Connection) -> None:
    os.setpgrp()
    try:
        for row in work():
            to.send(row)
        to.send(WHOLE)
    except Exception as error:
        traceback.print_exc()
        to.send(f"{type(error).__name__}: {error}")
