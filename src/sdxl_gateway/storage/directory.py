"""Takes the data directory, holds it for one server; a second one is told whose it is."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sdxl_gateway.core.errors import StartProblem

log = logging.getLogger(__name__)

LOCK_NAME = "lock"


class DirectoryInUse(StartProblem):
    """Another server has the data directory."""


@contextmanager
def sole_server(directory: Path) -> Iterator[None]:
    """Hold `directory`, made if it is not there, until the context is left or the process ends, however it ends.

    Raises DirectoryInUse where another holds it. A file system that knows no locks is used without, with a warning.
    """
    directory.mkdir(parents=True, exist_ok=True)
    # Never removed: whoever had opened the file before that would hold a lock nobody else sees.
    with os.fdopen(os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644), "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DirectoryInUse(_whose(directory, file.read(32).strip())) from None
        except OSError as error:
            log.warning("the data directory is not locked: %s", error)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _whose(directory: Path, pid: str) -> str:
    holder = f"process {pid}" if pid.isdigit() else "another process"
    return (
        f"data_directory: {directory.absolute()} is in use by the server of {holder}. "
        "Stop that server, or give this one a data_directory of its own."
    )
