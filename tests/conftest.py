"""Takes a test that sets up the logs of the whole process, gives the others the logs as they were."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tests.kit.device import DEVICE

# Triton reads it where it is imported first: there is no GPU, its kernels run in its interpreter.
os.environ.setdefault("TRITON_INTERPRET", "1" if DEVICE == "cpu" else "0")


@pytest.fixture
def logs_as_they_were() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    library = logging.getLogger("uvicorn.error")
    filters = library.filters[:]
    yield
    library.filters[:] = filters
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def object_store_server() -> Iterator[Any]:
    """One for all tests of a process; each makes buckets of its own."""
    pytest.importorskip("obstore", reason="needs the extra: pip install 'sdxl-gateway[s3]'")
    pytest.importorskip("moto", reason="needs the extra: pip install 'sdxl-gateway[dev]'")
    from tests.kit.buckets import object_store

    with object_store() as store:
        yield store


@pytest.fixture
def object_store(object_store_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 server (tests/kit/buckets.py) that is up, with credentials for it in the environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    object_store_server.begin()
    yield object_store_server
    object_store_server.begin()
