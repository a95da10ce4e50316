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
    """The progress of a job that another gateway paints; named as in LiveJob."""

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
        """Its state for clients: a job that was taken up counts as queued until an engine begins it."""
        waits = self.job.state is JobState.IN_PROGRESS and (self.live is None or self.live.started is None)
        return JobState.QUEUED if waits else self.job.state


def seen(job: StoredJob | None, caller: Caller) -> StoredJob:
    """The job, if the caller may see it. Raises NotFound."""
    if job is None or not (caller.admin or job.tenant == caller.tenant):
        raise unknown_job()
    return job


def unknown_job() -> NotFound:
    """The refusal of a job that is not there."""
    return NotFound("No such job.", code="job_not_found")
