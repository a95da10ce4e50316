"""The connection to the Redis that gateways share; calls have a deadline, and pause for a while after a failure."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from sdxl_gateway.core.errors import Unavailable
from sdxl_gateway.core.events import WorkFailed
from sdxl_gateway.core.listeners import Listener, unheard

log = logging.getLogger(__name__)
T = TypeVar("T")

MOST_CONNECTIONS = 32
SCANNED_AT_ONCE = 1000
PAUSE_SECONDS = 1.0
"""After a failure calls fail at once for so long, so that requests do not wait for one timeout after another."""
WORK = "redis"
"""The name under which failures are counted, and which readiness lists in "degraded"."""


class SharedStateDown(Unavailable):
    """Redis does not answer in time or at all, or is out of memory."""


class Link:
    """Callers decide what to do without an answer; `tell` is given a WorkFailed when Redis stops answering."""

    def __init__(
        self,
        url: str,
        prefix: str,
        timeout_seconds: float,
        tell: Listener = unheard,
    ) -> None:
        self._prefix = prefix
        self.timeout_seconds = timeout_seconds
        self._tell = tell
        self._failed: float | None = None
        self._soon: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.redis = Redis(connection_pool=_pool(url, timeout_seconds))

    def key(self, *parts: str) -> str:
        """The Redis key of these words."""
        return ":".join((self._prefix, *parts))

    @property
    def ailing(self) -> tuple[str, ...]:
        """As of Background: the name "redis" if the last call failed."""
        return () if self._failed is None else (WORK,)

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """The result of a call of Redis. Raises SharedStateDown, at once during the pause after a failure."""
        self._loop = asyncio.get_running_loop()
        if self._failed is not None and time.monotonic() < self._failed + PAUSE_SECONDS:
            raise SharedStateDown("The gateways' shared state cannot be reached.")
        try:
            async with asyncio.timeout(self.timeout_seconds), _leaving():
                answer = await question()
        except (RedisError, OSError, TimeoutError) as problem:
            self._fell(problem)
            raise SharedStateDown("The gateways' shared state cannot be reached.") from problem
        self._stands()
        return answer

    def ask_from_thread(self, question: Callable[[], Awaitable[T]]) -> T:
        """As `ask`, for callers on another thread than the loop's, after a first `ask`. Raises SharedStateDown."""
        if self._loop is None:
            raise SharedStateDown("The gateways' shared state was not asked yet.")
        return asyncio.run_coroutine_threadsafe(self.ask(question), self._loop).result()

    def soon(self, question: Callable[[], Awaitable[T]]) -> None:
        """Ask in the background; an answer that does not come is ignored."""
        self.beside(self.ask(question))

    def beside(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[None]:
        """As `soon`, for work that may ask several times."""
        task = asyncio.create_task(_tried(work))
        self._soon.add(task)
        task.add_done_callback(self._soon.discard)
        return task

    async def delete_like(self, pattern: str) -> None:
        """Delete all keys that match the pattern, in as many calls as it takes. Raises SharedStateDown."""
        cursor, more = 0, True
        while more:
            cursor, names = await self.ask(partial(self.redis.scan, cursor, pattern, SCANNED_AT_ONCE))
            if names:
                await self.ask(partial(self.redis.delete, *names))
            more = cursor != 0

    async def close(self) -> None:
        """Close the connections after all background work is done."""
        await asyncio.gather(*self._soon)
        await self.redis.aclose()
        await self.redis.connection_pool.disconnect()

    def _fell(self, problem: Exception) -> None:
        if self._failed is None:
            log.error("redis: %s: %s; each gateway goes by what it knows itself", type(problem).__name__, problem)
            self._tell(WorkFailed(WORK))
        self._failed = time.monotonic()

    def _stands(self) -> None:
        if self._failed is not None:
            log.warning("redis answers again")
        self._failed = None


def digest_of(*words: str) -> str:
    """A digest of words that may contain anything, such as a tenant's name, for use in a key."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]


async def _tried(work: Coroutine[Any, Any, object]) -> None:
    with suppress(Unavailable):
        await work


@asynccontextmanager
async def _leaving() -> AsyncIterator[None]:
    """Raises CancelledError if the task was cancelled inside, which redis-py may swallow."""
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    yield
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError


def _pool(url: str, timeout_seconds: float) -> BlockingConnectionPool:
    """A pool that retries once with a new connection if the old one was closed, as after a restart of Redis."""
    return BlockingConnectionPool.from_url(
        url,
        max_connections=MOST_CONNECTIONS,
        timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
    )
