"""The prompts of a job, and the hash of them that the audit log holds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Texts:
    """The log holds only `digest`, so that texts can be deleted and the log stays intact; `at` is unix seconds."""

    job_id: str
    tenant: str
    at: float
    salt: str
    prompt: str
    negative_prompt: str

    @property
    def digest(self) -> str:
        """The sha256 of salt and texts; without the salt nobody can check guesses of the texts."""
        return hashlib.sha256("\0".join((self.salt, self.prompt, self.negative_prompt)).encode()).hexdigest()
