"""The prompts beside the audit log: by tenant and time, sealed where there is a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_gateway.core.texts import Texts
from sdxl_gateway.storage.audit_texts import AuditTexts
from sdxl_gateway.storage.database import opened
from sdxl_gateway.storage.seal import Seal
from sdxl_gateway.storage.sealed import AesSeal


def texts(job: str, tenant: str = "art", at: float = 0.0) -> Texts:
    return Texts(job, tenant, at, "salt", "a secret cat", "dogs")


@pytest.mark.parametrize("seal", [Seal(), AesSeal([b"k" * 32])], ids=["plain", "sealed"])
async def test_they_come_and_go(tmp_path: Path, seal: Seal) -> None:
    with opened(tmp_path) as database:
        store = AuditTexts(database, seal)
        store.keep([texts("a", at=1.0), texts("b", at=2.0), texts("c", "ops", 3.0)])
        store.keep([texts("a", at=1.0)])
        found = await store.export("art")
        assert [(one["job"], one["at"], one["prompt"]) for one in found] == [
            ("a", 1.0, "a secret cat"),
            ("b", 2.0, "a secret cat"),
        ]
        assert await store.forget_before(2.0) == 1
        assert await store.erase("art") == 1
        assert (await store.export("art"), len(await store.export("ops"))) == ([], 1)
    assert _readable(tmp_path) is (type(seal) is Seal)


def _readable(folder: Path) -> bool:
    return any(b"secret cat" in path.read_bytes() for path in folder.glob("gateway.sqlite3*"))
