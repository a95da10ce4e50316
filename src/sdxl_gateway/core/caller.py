"""Caller: who asks, and what he may do."""

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
    """What a key is for; an admin may do what all others may."""

    GENERATE = "generate"
    MANAGE_LORAS = "manage-loras"
    METRICS = "metrics"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks; `tenant` groups keys, and `key_id` is empty for those of the configuration and for anybody.

    `models` and `loras` are globs of names, of which case does not matter: what none of them fits is not there at all
    for this caller. `limits` are the key's own, beside its tenant's; `safety` is None where the server's own policy
    counts, and `webhook_url` is told what becomes of jobs.
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
        """This caller's key is good for it."""
        return role in self.roles or Role.ADMIN in self.roles

    def sees_model(self, name: str) -> bool:
        """A checkpoint, an alias or a house style of that name is there for this caller."""
        return fits(name, self.models)

    def sees_lora(self, name: str) -> bool:
        """As `sees_model`, of a LoRA."""
        return fits(name, self.loras)

    @property
    def admin(self) -> bool:
        """May do whatever can be done over HTTP."""
        return Role.ADMIN in self.roles

    @property
    def sees_everything(self) -> bool:
        """Nothing is kept from this caller."""
        return self.models == self.loras == EVERYTHING


ANYBODY = Caller()
"""Who has no key where none is needed."""


def fits(name: str, globs: Sequence[str]) -> bool:
    """The name is one of those that some glob stands for; case does not matter."""
    return any(fnmatchcase(name.casefold(), glob.casefold()) for glob in globs)
