"""Caller: who asks, and what he may do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks; `tenant` groups keys for fairness, `admin` may change what the server holds."""

    tenant: str = "anonymous"
    admin: bool = False
