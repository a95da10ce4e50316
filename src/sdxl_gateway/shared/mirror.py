"""What a gateway is asked of the jobs and files of all, and what it is told; knows nothing of redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol

from sdxl_gateway.core.stored_job import JobKey, StoredJob
from sdxl_gateway.storage.file_table import StoredFile
from sdxl_gateway.storage.job_table import Filter
from sdxl_gateway.storage.pages import Cut

Owing = Callable[[str], Awaitable[Collection[str]]]
"""Of a gateway, the tenants that it has still to erase."""


async def nobody(_: str) -> Collection[str]:
    """As Owing, of gateways that have nothing to erase."""
    return ()


class Outcome(Enum):
    """What became of telling how a job stands: TOLD, and beside that to be CANCELLED as another gateway asks, or
    LACKING the uploads without which nobody could take it over. TAKEN it was already, by a gateway that has it now."""

    TOLD = auto()
    CANCELLED = auto()
    LACKING = auto()
    TAKEN = auto()


OUTCOMES = {
    b"told": Outcome.TOLD,
    b"cancelled": Outcome.CANCELLED,
    b"lacking": Outcome.LACKING,
    b"taken": Outcome.TAKEN,
}
"""As a mirror hears them."""


@dataclass(frozen=True, slots=True)
class Report:
    """A job of this gateway as it stands. `uploads_at` is where others find the pictures that came along, if not by the
    mirror."""

    job: StoredJob
    uploads_at: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A job as its gateway told of it last; `news` are what happened to it, each with its place."""

    report: Report
    news: Sequence[tuple[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Sight:
    """Of the fleet: whether this gateway's lease held, which of its jobs are to be cancelled, whose lease ended."""

    held: bool
    cancels: Sequence[str]
    gone: Sequence[str]


@dataclass(frozen=True, slots=True)
class Listed:
    """Part of a list: what of it other gateways have, and is still known; whether it is the `last`."""

    jobs: Sequence[StoredJob]
    last: bool


class Mirror(Protocol):
    """Carries how jobs stand from each gateway to the others, and jobs from one that is gone to another. What asks
    raises Unavailable while there is nothing to ask."""

    lease_seconds: float
    """A gateway that was not heard of for so long is gone."""
    kept_seconds: float
    """What was told stays for so long."""

    async def look(self) -> Sight:
        """Says that this gateway is there, until a lease later."""
        ...

    async def leave(self) -> None:
        """This gateway is gone, and its jobs anybody's."""
        ...

    async def tell(self, reports: Sequence[Report]) -> Sequence[Outcome]:
        """How jobs of this gateway stand now: what became of each."""
        ...

    async def keep_uploads(self, job: StoredJob, data: bytes) -> None:
        """The pictures that came along, if they are not too large."""
        ...

    async def uploads_of(self, job_id: str) -> bytes:
        """As they were kept. Raises Gone."""
        ...

    def news(self, job: StoredJob, value: Any, *, passing: bool) -> None:
        """What happened to a job, as JSON, for `tell_news`; what is `passing` is outdated by the next that is so."""
        ...

    async def tell_news(self) -> None:
        """All there is; what cannot be told is forgotten."""
        ...

    async def find(self, job_id: str, after: str | None = None) -> Found | None:
        """The job of that id, whoever's it is, with its news behind that place."""
        ...

    async def reserve(self, key: JobKey, job_id: str) -> tuple[str, int]:
        """Under which id and token a job asked for under that key is to be accepted here: under this id, or as if it
        were taken over, where a gateway that nobody heard of any more was about to accept it. Raises KeyInUse where it
        was accepted meanwhile."""
        ...

    async def under(self, key: JobKey) -> Found | None:
        """The job that was asked for under that key, of this request or another."""
        ...

    async def owns(self, job: StoredJob) -> bool:
        """Nobody has taken it over; so it is taken to be while there is nothing to ask."""
        ...

    async def has_moved(self, job: StoredJob) -> bool:
        """The gateway that took it over has told of it, and so has it on its disk."""
        ...

    async def ask_to_cancel(self, job_id: str) -> None:
        """Tell the gateway that has the job, or will have it."""
        ...

    async def take_over(self, gateway: str, most: int, sparing: Collection[str] = ()) -> int:
        """At most so many jobs of a gateway that is gone are this one's, but for those of some tenants, which wait for
        it; how many were looked at."""
        ...

    async def owned(self) -> Mapping[str, int]:
        """The jobs that are this gateway's and not over, the oldest first, and under which token."""
        ...

    async def page(self, which: Filter, before: float, most: int, skip: int, *, ours: bool | None = False) -> Listed:
        """So many of the jobs that were accepted by then, the latest first, behind so many; of a batch, of a tenant, or
        of all, in any state; of them those of other gateways, or `ours`, or both where that is None."""
        ...

    async def forget(self, jobs: Sequence[StoredJob]) -> None:
        """Nothing is known of these any more."""
        ...


@dataclass(frozen=True, slots=True)
class FileElsewhere(StoredFile):
    """A file as its `gateway` told of it; `address` is where others read its bytes, if not by the mirror."""

    gateway: str
    address: str | None = None


class FileMirror(Protocol):
    """Carries what is known of files, and copies of small ones, from each gateway to the others. Everything raises
    Unavailable while it cannot be."""

    gateway: str
    """This one."""

    def copies(self, file: StoredFile) -> bool:
        """It is small and new enough for a copy."""
        ...

    async def tell(self, file: StoredFile, address: str | None, data: bytes | None) -> None:
        """A file of this gateway is there; others read it at `address`, or by a copy of `data`."""
        ...

    async def told(self) -> Mapping[str, float]:
        """What is known of this gateway's files: ids, and when each was told, in unix seconds."""
        ...

    async def forget(self, file_ids: Collection[str]) -> None:
        """Nothing is known of these files of this gateway any more, nor are there copies."""
        ...

    async def held(self, tenant: str, mine: int, most: int | None = None) -> int:
        """What all gateways' files of the tenant take, of which this one's take `mine`; that is told the others too,
        unless all are more than `most` then. Without one nothing is told."""
        ...

    async def find(self, file_id: str) -> FileElsewhere | None:
        """The file of that id, as it was told."""
        ...

    def copy_of(self, file: FileElsewhere) -> bytes | None:
        """Its bytes, where there is a copy; blocks, on a thread beside the loop."""
        ...

    def listed(self, tenant: str, cut: Cut) -> AsyncIterator[FileElsewhere]:
        """All gateways' files of a tenant behind that place, in order; `limit` is not looked at."""
        ...

    async def ask_to_delete(self, file: FileElsewhere) -> None:
        """Tell the gateway that has it."""
        ...

    async def to_delete(self) -> Sequence[tuple[str, str]]:
        """The files that others ask this gateway to delete, each with its tenant."""
        ...
