"""The port through which gateways report their jobs to each other; knows nothing of Redis."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sdxl_gateway.core.stored_job import JobKey, StoredJob
from sdxl_gateway.shared.outcome import Outcome
from sdxl_gateway.storage.job_table import Filter


@dataclass(frozen=True, slots=True)
class Report:
    """A job as it stands now. `uploads_at` is the address where other gateways can read its uploads, if any."""

    job: StoredJob
    uploads_at: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A job as its gateway reported it last; `news` are its latest events, each with its position in their stream."""

    report: Report
    news: Sequence[tuple[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Sight:
    """What a gateway sees of the fleet when it renews its lease.

    `held` is whether that lease was still valid, `cancels` are the ids of its jobs that are to be cancelled, and `gone`
    are the ids of gateways whose leases ended.
    """

    held: bool
    cancels: Sequence[str]
    gone: Sequence[str]


@dataclass(frozen=True, slots=True)
class JobPage:
    """A page of a list of jobs; whether it is the `last`."""

    jobs: Sequence[StoredJob]
    last: bool


class JobMirror(Protocol):
    """Shares the state of jobs among gateways, and hands the jobs of a gateway that is gone to another.

    A job carries a token, which each takeover raises: the gateway with the highest one owns the job. Every coroutine
    raises Unavailable while the shared state cannot be reached, except `owns`.
    """

    lease_seconds: float
    """A gateway that did not renew its lease for so long is gone."""
    kept_seconds: float
    """Reports are kept for so long after the last one."""

    async def look(self) -> Sight:
        """Renew this gateway's lease, and see how the fleet stands."""
        ...

    async def leave(self) -> None:
        """End this gateway's lease: others may take over its jobs."""
        ...

    async def tell(self, reports: Sequence[Report]) -> Sequence[Outcome]:
        """Report how jobs of this gateway stand; the outcome of each."""
        ...

    async def keep_uploads(self, job: StoredJob, data: bytes) -> None:
        """Share the job's uploads, unless they are too large."""
        ...

    async def uploads_of(self, job_id: str) -> bytes:
        """The uploads that were shared. Raises Gone."""
        ...

    def news(self, job: StoredJob, value: Any, *, passing: bool) -> None:
        """Queue an event of a job, as JSON, for `tell_news`; a `passing` one replaces the passing one before it."""
        ...

    async def tell_news(self) -> None:
        """Share all queued events; those that cannot be shared now are dropped."""
        ...

    async def find(self, job_id: str, after: str | None = None) -> Found | None:
        """The job of that id, whichever gateway has it, with its events behind the position `after`."""
        ...

    async def reserve(self, key: JobKey, job_id: str) -> tuple[str, int]:
        """The id and token under which this gateway may accept the job of an Idempotency-Key.

        It is this id or, where another gateway reserved the key and was not heard of again, its id with a higher token.

        Raises KeyInUse where the job was accepted meanwhile.
        """
        ...

    async def by_key(self, key: JobKey) -> Found | None:
        """The job that was accepted under that key, whatever was asked for."""
        ...

    async def owns(self, job: StoredJob) -> bool:
        """Whether this gateway still owns the job; assumed while the shared state cannot be reached."""
        ...

    async def has_moved(self, job: StoredJob) -> bool:
        """Whether the gateway that took the job over has reported it, and so has it on its disk."""
        ...

    async def ask_to_cancel(self, job_id: str) -> None:
        """Ask the gateway that owns the job, now or later, to cancel it."""
        ...

    async def take_over(self, gateway: str, most: int, sparing: Collection[str] = ()) -> int:
        """Make this gateway the owner of jobs of a gateway that is gone, except those of the tenants `sparing`, which
        wait for it; how many jobs that were, at most `most`."""
        ...

    async def owned(self) -> Mapping[str, int]:
        """The unfinished jobs that this gateway owns, the oldest first, each with its token."""
        ...

    async def page(self, which: Filter, before: float, most: int, skip: int, *, ours: bool | None = False) -> JobPage:
        """At most `most` jobs created by `before` (unix seconds), the latest first, without the first `skip`: those of
        other gateways, or `ours`, or, for None, all.

        Of the filter its batch counts, else its tenant; its state does not.
        """
        ...

    async def forget(self, jobs: Sequence[StoredJob]) -> None:
        """Remove everything that is shared of these jobs."""
        ...
