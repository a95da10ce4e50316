"""Batches that change their gateway, as rows of the database; each function is work for `Database.run`."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import replace

from sdxl_gateway.core.batch import Batch
from sdxl_gateway.storage import batch_table, webhook_table


def adopt(connection: sqlite3.Connection, batch: Batch, lines: str | None) -> bool:
    """Store a batch of another gateway, with the blob of its requests, as one without answers.

    False for a batch that is here already: it keeps its answers, and gets the new token.
    """
    if batch_table.find(connection, batch.id) is not None:
        connection.execute("UPDATE batches SET token = ? WHERE id = ?", (batch.token, batch.id))
        return False
    batch_table.insert(connection, replace(batch, lines=lines, completed=0, failed=0, output_bytes=0))
    return True


def let_go(connection: sqlite3.Connection, batch_id: str) -> list[str]:
    """Delete a batch that another gateway owns now, and its pending webhooks; the blobs it had."""
    batch = batch_table.find(connection, batch_id)
    lines = None if batch is None else batch.lines
    batch_table.remove(connection, batch_id)
    webhook_table.withdraw(connection, batch_id)
    return [*batch_table.drop_outputs(connection, batch_id), *filter(None, [lines])]


def unknown(connection: sqlite3.Connection, tokens: Mapping[str, int]) -> list[str]:
    """Those of these ids that are not here, or only under a lower token."""
    found = {batch_id: batch_table.find(connection, batch_id) for batch_id in tokens}
    return [batch_id for batch_id, batch in found.items() if batch is None or batch.token < tokens[batch_id]]
