"""Batches, as OpenAI's replies describe them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from typing_extensions import TypedDict

from sdxl_gateway.api.replies.pages import ListPage, ends
from sdxl_gateway.core.batch import Batch, LineError


class BatchError(TypedDict):
    """An error in the input file; `line` counts from 1, and is null for an error of the whole file."""

    code: str
    line: int | None
    message: str
    param: str | None


class BatchErrors(TypedDict):
    """The errors in the input file, at most the first hundred."""

    object: Literal["list"]
    data: list[BatchError]


class RequestCounts(TypedDict):
    """How many requests the batch has; the `failed` ones are in the error file."""

    total: int
    completed: int
    failed: int


class BatchObject(TypedDict):
    """OpenAI's batch object, with its `tenant`; times are unix seconds, null for states that it was never in."""

    id: str
    object: Literal["batch"]
    tenant: str
    endpoint: str
    model: str | None
    errors: BatchErrors | None
    input_file_id: str
    completion_window: Literal["24h"]
    status: str
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    metadata: dict[str, str] | None


class BatchList(ListPage):
    """A page of batches, newest first; pass `last_id` as `after` for the next page."""

    data: list[BatchObject]


def batch_object(batch: Batch) -> BatchObject:
    """The batch as a JSON object."""
    return {
        "id": batch.id,
        "object": "batch",
        "tenant": batch.tenant,
        "endpoint": batch.endpoint,
        "model": batch.model,
        "errors": {"object": "list", "data": [_error(error) for error in batch.errors]} if batch.errors else None,
        "input_file_id": batch.input_file,
        "completion_window": "24h",
        "status": batch.state,
        "output_file_id": batch.output_file,
        "error_file_id": batch.error_file,
        "created_at": int(batch.created),
        "in_progress_at": _time(batch, "in_progress"),
        "expires_at": int(batch.expires),
        "finalizing_at": _time(batch, "finalizing"),
        "completed_at": _time(batch, "completed"),
        "failed_at": _time(batch, "failed"),
        "expired_at": _time(batch, "expired"),
        "cancelling_at": _time(batch, "cancelling"),
        "cancelled_at": _time(batch, "cancelled"),
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "metadata": dict(batch.metadata) or None,
    }


def _time(batch: Batch, state: str) -> int | None:
    return int(batch.times[state]) if state in batch.times else None


def _error(error: LineError) -> BatchError:
    return {"code": error.code, "line": error.line, "message": error.message, "param": error.param}


def batch_list(page: Sequence[Batch], *, has_more: bool) -> BatchList:
    """A page of batches as a JSON object."""
    return {
        "object": "list",
        "data": [batch_object(batch) for batch in page],
        **ends([one.id for one in page], has_more=has_more),
    }
