"""Takes a test that sets up the logs of the whole process, gives the others the logs as they were."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

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
