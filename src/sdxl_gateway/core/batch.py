"""Batch: a file of requests that are painted when there is time, as it is stored."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from sdxl_gateway.core.stored_job import FIRST_TOKEN

ID_BYTES = 16


class BatchState(StrEnum):
    """The states of a batch, as OpenAI spells them; the last four are final."""

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
        """Whether the state is final."""
        return self in OVER


OVER = frozenset({BatchState.COMPLETED, BatchState.FAILED, BatchState.EXPIRED, BatchState.CANCELLED})


@dataclass(frozen=True, slots=True)
class LineError:
    """An error of a batch's input file: in one of its lines, counted from 1, or in the whole file."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch as it is asked for; `file_seconds` is how long its outputs are kept, None for the server's default."""

    input_file: str
    endpoint: str
    base_url: str
    metadata: Mapping[str, str]
    file_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Times are unix seconds, `times` are when it entered each state. `caller` is JSON, see gateway/packed.py.

    `lines` is the blob of its requests, from when they were read until the batch ends; `file_seconds` is how long its
    outputs are kept. Addresses of pictures begin with `base_url`. `output_bytes` is the size of its outputs so far.
    `token` is raised by each gateway that takes the batch over, as that of a StoredJob.
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
        """The batch in another state, entered now."""
        return replace(self, state=state, times={**self.times, state: now})


@dataclass(frozen=True, slots=True)
class LineOutput:
    """The answer to one line of a batch: a blob of one line of JSON, `bytes` long."""

    batch: str
    line: int
    custom_id: str
    failed: bool
    blob: str
    bytes: int


def new_batch_id() -> str:
    """An id that nobody can guess."""
    return "batch_" + secrets.token_hex(ID_BYTES)
