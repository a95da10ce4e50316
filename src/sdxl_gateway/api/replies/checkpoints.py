"""The replies that list checkpoints and confirm their deletion."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from sdxl_gateway.gateway.checkpoint_card import Checkpoint, CheckpointProblem


class CheckpointList(TypedDict):
    """All checkpoints, and under `problems` what is in their folder but cannot be used; never paged."""

    object: Literal["list"]
    data: list[Checkpoint]
    problems: list[CheckpointProblem]
    has_more: Literal[False]


class DeletedCheckpoint(TypedDict):
    """Confirms that a checkpoint was deleted."""

    id: str
    object: Literal["checkpoint"]
    deleted: Literal[True]


def checkpoint_list(checkpoints: list[Checkpoint], problems: list[CheckpointProblem]) -> CheckpointList:
    """The list of checkpoints and problems as a JSON object."""
    return {"object": "list", "data": checkpoints, "problems": problems, "has_more": False}


def deleted_checkpoint(name: str) -> DeletedCheckpoint:
    """The reply to a deletion."""
    return {"id": name, "object": "checkpoint", "deleted": True}
