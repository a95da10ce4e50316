"""A sender of webhooks by a clock that tests move, and receivers that record what they got."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sdxl_gateway.core.events import Event
from sdxl_gateway.core.outside import WebhookTried
from sdxl_gateway.egress.dialling import Resolve, system_resolve
from sdxl_gateway.egress.egress import Egress
from sdxl_gateway.storage.database import Database, opened
from sdxl_gateway.storage.webhook_table import enqueue_webhook
from sdxl_gateway.webhooks.sender import WebhookSender
from sdxl_gateway.webhooks.store import WebhookStore
from tests.kit.other_server import OtherServer

PEPPER = b"pepper"
START = 1_700_000_000.0
COMPLETED = "image.job.completed"


@dataclass
class WebhookKit:
    """`now` is the clock's time; `heard` are the outcomes of attempts."""

    database: Database
    now: float = START
    heard: list[str] = field(default_factory=list)
    store: WebhookStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = WebhookStore(self.database, lambda: PEPPER, lambda: self.now)

    def listen(self, event: Event) -> None:
        if isinstance(event, WebhookTried):
            self.heard.append(event.outcome)

    async def enqueue(self, url: str, subject: str, tenant: str = "art", event: str = COMPLETED, **data: Any) -> str:
        told = partial(
            enqueue_webhook, tenant=tenant, url=url, event=event, subject=subject, now=self.now, data=data or None
        )
        return await self.database.run(told)

    @asynccontextmanager
    async def sending(
        self, private: Iterable[str], timeout_seconds: float = 5.0, resolve: Resolve = system_resolve
    ) -> AsyncIterator[WebhookSender]:
        sender = WebhookSender(
            self.database,
            self.store,
            Egress(private, resolve=resolve),
            self.listen,
            timeout_seconds=timeout_seconds,
            look_seconds=0.005,
            share=lambda: 0.0,
        )
        task = asyncio.create_task(sender.sending())
        try:
            yield sender
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def quiet(self) -> None:
        """Wait until nothing is due or in progress."""
        await until(lambda: self.database.run(partial(_busy, now=self.now)), to_be=False)

    async def later(self, seconds: float) -> None:
        """Move the clock, and wait until what is due is done."""
        self.now += seconds
        await self.quiet()


def _busy(connection: sqlite3.Connection, now: float) -> bool:
    where = "leased IS NOT NULL OR due <= ?"
    row = connection.execute(f"SELECT 1 FROM webhook_deliveries WHERE {where}", (now,)).fetchone()
    return row is not None


@asynccontextmanager
async def webhook_kit(folder: Path) -> AsyncIterator[WebhookKit]:
    with opened(folder) as database:
        yield WebhookKit(database)


async def until(asked: Callable[[], Awaitable[bool]], *, to_be: bool = True) -> None:
    """Call repeatedly until the answer is `to_be`. Raises TimeoutError."""
    async with asyncio.timeout(20):
        while await asked() is not to_be:  # noqa: ASYNC110 - it is asked of a database, or of another server
            await asyncio.sleep(0.005)


def ids(server: OtherServer) -> list[str]:
    """The `webhook-id` of each request that a receiver got."""
    return [headers(head)["webhook-id"] for head in server.heads]


def headers(head: str) -> dict[str, str]:
    lines = (line.partition(": ") for line in head.split("\r\n")[1:] if line)
    return {name.lower(): value for name, _, value in lines}
