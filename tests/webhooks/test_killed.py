"""A server is killed at random moments of sending: all of it arrives, and nothing has two ids."""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.kit.other_server import other_server, saying
from tests.kit.webhooks import ids

JOBS = 60
PROGRAM = """
import asyncio, sys, time
from functools import partial
from pathlib import Path
from sdxl_gateway.egress.egress import Egress
from sdxl_gateway.storage.database import opened
from sdxl_gateway.storage.webhook_table import enqueue_webhook
from sdxl_gateway.webhooks import sender
from sdxl_gateway.webhooks.store import WebhookStore

folder, host, first, end = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
sender.LEASE_SECONDS = 0.1  # beyond the timeout: what the last one had in hand is not waited for

async def main():
    with opened(Path(folder)) as database:
        for number in range(first, end):
            await database.run(partial(
                enqueue_webhook, tenant="art", url=f"http://{host}/hook", event="image.job.completed",
                subject=f"job_{number}", now=time.time(),
            ))
        print("enqueued", flush=True)
        store = WebhookStore(database, lambda: b"pepper")
        one = sender.WebhookSender(
            database, store, Egress([host]), print, timeout_seconds=0.2, look_seconds=0.01
        )
        task = asyncio.create_task(one.sending())
        waiting = "SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'"
        while await database.run(lambda c: c.execute(waiting).fetchone()[0]):
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])

asyncio.run(main())
"""


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.full)])
async def test_nothing_is_lost_and_nothing_has_two_ids(tmp_path: Path, rounds: int) -> None:
    async with other_server({"/hook": saying(b"")}) as receiver:
        command = [sys.executable, "-c", PROGRAM, str(tmp_path), receiver.host]
        for first in range(0, rounds * JOBS, JOBS):
            process = await asyncio.create_subprocess_exec(
                *command, str(first), str(first + JOBS), stdout=asyncio.subprocess.PIPE
            )
            assert process.stdout is not None
            await process.stdout.readline()
            await asyncio.sleep(random.uniform(0.0, 0.15))
            with suppress(ProcessLookupError):
                process.kill()
            await process.communicate()
        process = await asyncio.create_subprocess_exec(*command, "0", "0", stdout=asyncio.subprocess.PIPE)
        async with asyncio.timeout(60):
            await process.communicate()
    assert process.returncode == 0
    assert len(set(ids(receiver))) == rounds * JOBS
    # What a killed server had reached and could not note is sent again, under the id it had.
    assert len(ids(receiver)) <= rounds * (JOBS + 4)
