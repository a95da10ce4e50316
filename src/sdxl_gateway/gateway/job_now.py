"""JobNow: a stored job as it stands at the moment, at this gateway or at another."""

from __future__ import annotations

from dataclasses import dataclass

from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import NotFound
from sdxl_gateway.core.stored_job import JobState, StoredJob
from sdxl_gateway.gateway.events import Partial
from sdxl_gateway.gateway.live_job import LiveJob


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """How far a job is that another gateway paints, as a LiveJob tells it."""

    started: float | None
    step: int
    steps: int
    look: Partial | None


@dataclass(frozen=True, slots=True)
class JobNow:
    """A stored job as it stands: `ahead` jobs come before it while it waits, where that is known; `live` while it is
    taken up."""

    job: StoredJob
    ahead: int | None = None
    live: LiveJob | Elsewhere | None = None

    @property
    def state(self) -> JobState:
        """A job that is taken up waits until an engine has begun it."""
        waits = self.job.state is JobState.IN_PROGRESS and (self.live is None or self.live.started is None)
        return JobState.QUEUED if waits else self.job.state


def seen(job: StoredJob | None, caller: Caller) -> StoredJob:
    """The job; one of another tenant is not there. Raises NotFound."""
    if job is None or not (caller.admin or job.tenant == caller.tenant):
        raise unknown_job()
    return job


def unknown_job() -> NotFound:
    """The refusal of a job that is not there."""
    return NotFound("No such job.", code="job_not_found")
