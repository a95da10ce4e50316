"""Caller: who sends a request, and what they may do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from sdxl_gateway.core.allowance import NO_LIMITS, Allowance
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.core.safety import Policy

EVERYTHING = ("*",)


class Role(StrEnum):
    """The role of a key; an admin may do what all others may."""

    GENERATE = "generate"
    MANAGE_LORAS = "manage-loras"
    METRICS = "metrics"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request; `tenant` groups keys, and `key_id` is empty for keys of the configuration and for ANYBODY.

    `models` and `loras` are globs of names, regardless of case: for this caller, names that match none do not exist.
    `limits` are the key's own, besides its tenant's; `safety` is None when the server's policy applies, and
    `webhook_url` is called when jobs end.
    """

    tenant: str = "anonymous"
    roles: frozenset[Role] = frozenset({Role.GENERATE, Role.METRICS})
    key_id: str = ""
    models: tuple[str, ...] = EVERYTHING
    loras: tuple[str, ...] = EVERYTHING
    priority: Priority = Priority.NORMAL
    limits: Allowance = NO_LIMITS
    safety: Policy | None = None
    webhook_url: str | None = None

    def may(self, role: Role) -> bool:
        """Whether this caller's key allows what the role allows."""
        return role in self.roles or Role.ADMIN in self.roles

    def sees_model(self, name: str) -> bool:
        """Whether this caller may see a checkpoint, an alias or a house style of that name."""
        return fits(name, self.models)

    def sees_lora(self, name: str) -> bool:
        """As `sees_model`, of a LoRA."""
        return fits(name, self.loras)

    @property
    def admin(self) -> bool:
        """Whether they may do everything that can be done over HTTP."""
        return Role.ADMIN in self.roles

    @property
    def sees_everything(self) -> bool:
        """Whether they may see every model and LoRA."""
        return self.models == self.loras == EVERYTHING


ANYBODY = Caller()
"""The caller without a key, on a server that needs none."""


def fits(name: str, globs: Sequence[str]) -> bool:
    """Whether some glob matches the name, regardless of case."""
    return any(fnmatchcase(name.casefold(), glob.casefold()) for glob in globs)
