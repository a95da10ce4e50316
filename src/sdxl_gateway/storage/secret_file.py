"""Gives a secret of the server: the configured one, else one that is made once and kept in the data directory."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from pydantic import SecretStr

from sdxl_gateway.storage.directory import usable

RANDOM_BYTES = 32


def secret_of(configured: SecretStr | None, path: Path) -> bytes:
    """The setting, else the content of the file at `path`, made when there is none. Raises DirectoryUnusable."""
    if configured is not None:
        return configured.get_secret_value().encode()
    with usable(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write_once(path, secrets.token_bytes(RANDOM_BYTES))
        return path.read_bytes()


def _write_once(path: Path, secret: bytes) -> None:
    """Atomically; when two processes do it at the same time the first one counts."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(new, path)
    except FileExistsError:
        pass
    finally:
        new.unlink()
