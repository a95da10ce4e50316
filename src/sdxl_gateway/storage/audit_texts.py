"""Keeps the prompts whose hashes are in the audit log, so that they can be erased without changing the log."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Any

from sdxl_gateway.core.texts import Texts
from sdxl_gateway.storage.database import Database
from sdxl_gateway.storage.seal import Seal


class AuditTexts:
    """The prompts by job, encrypted if there is a key (a core TenantStore)."""

    kind = "prompts"

    def __init__(self, database: Database, seal: Seal) -> None:
        self._database = database
        self._seal = seal

    def keep(self, texts: Sequence[Texts]) -> None:
        """Store them; blocks until they are on the disk. Raises StorageFull, Unavailable."""
        rows = [(one.job_id, one.tenant, one.at, self._seal.sealed(_written(one))) for one in texts]
        self._database.submit(partial(_insert, rows=rows)).result()

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """What the tenant asked for, the oldest first."""
        rows = await self._database.run(partial(_of_tenant, tenant=tenant))
        return [{"job": job, "at": at, **json.loads(self._seal.plain(texts))} for job, at, texts in rows]

    async def erase(self, tenant: str) -> int:
        """How many jobs' texts are gone."""
        return await self._database.run(partial(_delete, where="tenant = ?", value=tenant))

    async def forget_before(self, unix_seconds: float) -> int:
        """How many jobs' texts are gone."""
        return await self._database.run(partial(_delete, where="at < ?", value=unix_seconds))


def _written(texts: Texts) -> str:
    return json.dumps({"prompt": texts.prompt, "negative_prompt": texts.negative_prompt, "salt": texts.salt})


def _insert(connection: sqlite3.Connection, rows: list[tuple[str, str, float, str]]) -> None:
    connection.executemany("INSERT OR REPLACE INTO audit_texts (job, tenant, at, texts) VALUES (?, ?, ?, ?)", rows)


def _of_tenant(connection: sqlite3.Connection, tenant: str) -> list[tuple[str, float, str]]:
    found = connection.execute("SELECT job, at, texts FROM audit_texts WHERE tenant = ? ORDER BY at, job", (tenant,))
    return [(row["job"], row["at"], row["texts"]) for row in found]


def _delete(connection: sqlite3.Connection, where: str, value: object) -> int:
    return connection.execute(f"DELETE FROM audit_texts WHERE {where}", (value,)).rowcount  # noqa: S608
