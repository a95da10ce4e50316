"""StoredJob: a request that was accepted to be painted later, as it is stored until long after its end."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import StrEnum

from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.priority import Priority

ID_BYTES = 12
TAKINGS_EACH = 1000
"""More than the times that one gateway ever takes a job up."""

FIRST_TOKEN = 1
"""The token of a job or batch that never changed its gateway."""
Place = tuple[float, str]


class JobState(StrEnum):
    """The states of a stored job; the last three are final."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether the state is final."""
        return self not in (JobState.QUEUED, JobState.IN_PROGRESS)


@dataclass(frozen=True, slots=True)
class StoredJob:
    """Times are unix seconds. `caller`, `ask`, `error` and `result` are JSON, see gateway/packed.py.

    `uploads` is the blob of its pictures, while they are needed. `attempts` counts how often it was taken up, without
    those that an orderly end of the server cut off; `number` is its place in the order of arrival. `trace` is the
    `traceparent` of its request. `token` is raised by each gateway that takes the job over from one that is gone;
    reports under a lower token are ignored. `idempotency_key` and `fingerprint` are those of its JobKey, if any.
    """

    id: str
    tenant: str
    caller: str
    operation: Operation
    model: str
    priority: Priority
    ask: str
    created: float
    uploads: str | None = None
    state: JobState = JobState.QUEUED
    attempts: int = 0
    started: float | None = None
    finished: float | None = None
    error: str | None = None
    result: str | None = None
    batch: str | None = None
    custom_id: str | None = None
    webhook_url: str | None = None
    trace: str | None = None
    number: int = 0
    token: int = FIRST_TOKEN
    idempotency_key: str | None = None
    fingerprint: str | None = None

    @property
    def place(self) -> Place:
        """Its place in lists, which are sorted from the greatest down."""
        return self.created, self.id

    @property
    def taking(self) -> int:
        """A number for the current attempt, at whichever gateway; later attempts have greater ones."""
        return (self.token - 1) * TAKINGS_EACH + self.attempts


@dataclass(frozen=True, slots=True)
class JobKey:
    """The Idempotency-Key of a job, which is valid for `seconds`: digests of the key with its tenant and route, and of
    the request."""

    digest: str
    fingerprint: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a stored job: a final state, with a result or an error as JSON."""

    state: JobState
    result: str | None = None
    error: str | None = None


def new_job_id() -> str:
    """An id that nobody can guess."""
    return "job_" + secrets.token_hex(ID_BYTES)
