"""Caller: who asks, and what he may do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks; `tenant` groups keys for fairness, `admin` may change what the server holds.

    `base_url` is where the caller reaches this server; addresses handed out begin with it.
    """

    tenant: str = "anonymous"
    admin: bool = False
    base_url: str = ""
