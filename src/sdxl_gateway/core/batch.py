"""Batch: a file of requests that are painted one by one when there is time, as it is remembered."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from sdxl_gateway.core.stored_job import FIRST_TOKEN

ID_BYTES = 16


class BatchState(StrEnum):
    """Where a batch stands; it is in one of the last four for good. Spelled as OpenAI does."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    CANCELLING = "cancelling"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Nothing happens to it any more."""
        return self in OVER


OVER = frozenset({BatchState.COMPLETED, BatchState.FAILED, BatchState.EXPIRED, BatchState.CANCELLED})


@dataclass(frozen=True, slots=True)
class LineError:
    """What is wrong with a batch's file: in one of its lines, counted from 1, or as a whole."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class NewBatch:
    """What a caller asks for; `file_seconds` is how long the outputs are to be kept, None for the server's own time."""

    input_file: str
    endpoint: str
    base_url: str
    metadata: Mapping[str, str]
    file_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Times are unix seconds, `times` are when it came into each state. `caller` is JSON, see gateway/packed.py.

    `lines` is the blob of its requests, from when they were read until it is over; `file_seconds` is how long its
    outputs are kept. Addresses of pictures begin with `base_url`. `output_bytes` is what its outputs have so far.
    `token` is raised by each gateway that takes the batch over from one that is gone, as of a StoredJob.
    """

    id: str
    tenant: str
    caller: str
    endpoint: str
    input_file: str
    base_url: str
    created: float
    expires: float
    file_seconds: float
    metadata: Mapping[str, str] = field(default_factory=dict)
    state: BatchState = BatchState.VALIDATING
    times: Mapping[str, float] = field(default_factory=dict)
    model: str | None = None
    lines: str | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    output_bytes: int = 0
    errors: tuple[LineError, ...] = ()
    output_file: str | None = None
    error_file: str | None = None
    token: int = FIRST_TOKEN

    def come_to(self, state: BatchState, now: float) -> Batch:
        """In another state, from now on."""
        return replace(self, state=state, times={**self.times, state: now})


@dataclass(frozen=True, slots=True)
class LineOutput:
    """The answer to one line of a batch: a blob that holds one line of JSON, of `bytes` bytes."""

    batch: str
    line: int
    custom_id: str
    failed: bool
    blob: str
    bytes: int


def new_batch_id() -> str:
    """One that nobody can guess."""
    return "batch_" + secrets.token_hex(ID_BYTES)
