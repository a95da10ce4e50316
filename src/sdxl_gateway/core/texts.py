"""What a job was asked to paint, in words, and the hash of it that the audit log holds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Texts:
    """The log holds `digest` alone, so that the texts can go and the log stays whole; `at` is unix seconds."""

    job_id: str
    tenant: str
    at: float
    salt: str
    prompt: str
    negative_prompt: str

    @property
    def digest(self) -> str:
        """sha256 over salt and texts; without the salt nobody can guess what they were."""
        return hashlib.sha256("\0".join((self.salt, self.prompt, self.negative_prompt)).encode()).hexdigest()
