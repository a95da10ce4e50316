"""Queues the webhook of a job in the transaction that ends the job."""

from __future__ import annotations

import sqlite3

from sdxl_gateway.core.stored_job import StoredJob
from sdxl_gateway.storage.webhook_table import enqueue_webhook


def tell_of_end(connection: sqlite3.Connection, job: StoredJob) -> None:
    """Queue the event of a job that ended, if it has a receiver: `image.job.completed`, `.failed` or `.cancelled`."""
    if job.webhook_url is None:
        return
    about = {"object": "job", "state": job.state.value, "batch_id": job.batch, "custom_id": job.custom_id}
    enqueue_webhook(
        connection,
        tenant=job.tenant,
        url=job.webhook_url,
        event=f"image.job.{job.state.value}",
        subject=job.id,
        now=job.created if job.finished is None else job.finished,
        trace=job.trace,
        data={name: value for name, value in about.items() if value is not None},
    )
