"""Batches that come from another gateway, or are another's now; each function is work for `Database.run`."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import replace

from sdxl_gateway.core.batch import Batch
from sdxl_gateway.storage import batch_table, webhook_table


def adopt(connection: sqlite3.Connection, batch: Batch, lines: str | None) -> bool:
    """Remember a batch of another gateway with the blob of its requests, none of which has an answer here. One that is
    here already goes on from where it stands, under the new token; False for that."""
    if batch_table.find(connection, batch.id) is not None:
        connection.execute("UPDATE batches SET token = ? WHERE id = ?", (batch.token, batch.id))
        return False
    batch_table.insert(connection, replace(batch, lines=lines, completed=0, failed=0, output_bytes=0))
    return True


def let_go(connection: sqlite3.Connection, batch_id: str) -> list[str]:
    """Forget a batch that is another gateway's, and what was to be told of its end; the blobs it had."""
    batch = batch_table.find(connection, batch_id)
    lines = None if batch is None else batch.lines
    batch_table.remove(connection, batch_id)
    webhook_table.withdraw(connection, batch_id)
    return [*batch_table.drop_outputs(connection, batch_id), *filter(None, [lines])]


def unknown(connection: sqlite3.Connection, tokens: Mapping[str, int]) -> list[str]:
    """Those of these ids that no batch here has, or only under a lower token."""
    found = {batch_id: batch_table.find(connection, batch_id) for batch_id in tokens}
    return [batch_id for batch_id, batch in found.items() if batch is None or batch.token < tokens[batch_id]]
