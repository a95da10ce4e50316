"""One redis-server for a test, and gateways that share by it; nothing here runs without one."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.kit.redis_server import MISSING, RedisServer, redis_server
from tests.kit.sharing import Sharer


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """In a folder whose name is short enough for a socket."""
    if MISSING is not None:
        pytest.skip(MISSING)
    with tempfile.TemporaryDirectory(prefix="redis-") as folder, redis_server(Path(folder)) as server:
        yield server


@pytest.fixture
async def two(redis: RedisServer, tmp_path: Path) -> AsyncIterator[tuple[Sharer, Sharer]]:
    """Two gateways, each with a folder of its own."""
    async with AsyncExitStack() as stack:
        yield (
            await stack.enter_async_context(Sharer.opened(redis, tmp_path / "a")),
            await stack.enter_async_context(Sharer.opened(redis, tmp_path / "b")),
        )
