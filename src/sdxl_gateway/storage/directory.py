"""Locks the data directory for one server; a second one is told who has it."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sdxl_gateway.core.errors import StartProblem

log = logging.getLogger(__name__)

LOCK_NAME = "lock"
FILE_IN_THE_WAY = (FileExistsError, NotADirectoryError)


class DirectoryInUse(StartProblem):
    """Another server has the data directory."""


class DirectoryUnusable(StartProblem):
    """The data directory cannot be made or written to."""


@contextmanager
def usable(directory: Path) -> Iterator[None]:
    """An OSError inside the context becomes DirectoryUnusable."""
    try:
        yield
    except OSError as error:
        reason = "a file of that name is in the way" if isinstance(error, FILE_IN_THE_WAY) else error.strerror
        place = f"data_directory: {directory.absolute()} cannot be used: {reason}."
        raise DirectoryUnusable(f"{place} Free that place, or choose another data_directory.") from error


def refuse_unusable(directory: Path) -> None:
    """Raises DirectoryUnusable where `directory` could not be made or written to; makes and writes nothing."""
    nearest = next(place for place in (directory, *directory.absolute().parents) if place.exists())
    with usable(directory):
        if not nearest.is_dir():
            raise NotADirectoryError
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@contextmanager
def sole_server(directory: Path) -> Iterator[None]:
    """Hold `directory`, made if it is not there, until the context is left or the process ends, however it ends.

    Raises DirectoryInUse where another holds it, DirectoryUnusable where it cannot be made or written to. A file system
    that knows no locks is used without, with a warning.
    """
    with usable(directory):
        directory.mkdir(parents=True, exist_ok=True)
        # Never removed: whoever had opened the file before that would hold a lock nobody else sees.
        descriptor = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DirectoryInUse(_whose(directory, file.read(32).strip())) from None
        except OSError as error:
            log.warning("the data directory is not locked: %s", error)
        with usable(directory):
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
