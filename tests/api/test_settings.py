"""Operators read the settings in force; nobody reads a secret, and nobody else reads anything."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.api import KEYED, client, served_api

SETTINGS = "/v1/admin/settings"
SECRET = "s3cr3t-that-nobody-reads"
SECRETS: dict[str, Any] = {
    "auth": {"api_keys": [SECRET], "admin_keys": [SECRET, "root"], "pepper": SECRET},
    "delivery": {"url_key": SECRET},
    "encryption": {"secrets": [SECRET]},
    "enhancer": {"key": SECRET, "base_url": f"https://me:{SECRET}@host/v1?{SECRET}"},
    "moderation": {"key": SECRET},
    "redis": {"url": f"redis://:{SECRET}@host"},
}


async def test_an_operator_reads_them_and_no_secret() -> None:
    async with client(served_api(**SECRETS, limits={"max_steps": 7})) as http:
        answer = await http.get(SETTINGS, headers={"api-key": "root"})
    assert answer.status_code == 200
    assert SECRET not in answer.text
    told = {one.pop("key"): one for one in answer.json()["data"]}
    assert told["limits.max_steps"] == {"value": 7, "secret": False, "is_default": False, "applies": "reload"}
    assert told["server.port"] == {"value": 8000, "secret": False, "is_default": True, "applies": "restart"}
    assert told["auth.pepper"] == {"value": "*" * 10, "secret": True, "is_default": False, "applies": "restart"}
    assert len(told["auth.admin_keys"]["value"]) == 2


@pytest.mark.parametrize(("key", "status"), [("alpha", 403), ("", 401), ("wrong", 401)])
async def test_nobody_else_reads_anything(key: str, status: int) -> None:
    async with client(served_api(**KEYED)) as http:
        answer = await http.get(SETTINGS, headers={"api-key": key} if key else {})
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
