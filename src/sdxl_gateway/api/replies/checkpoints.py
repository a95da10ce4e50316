"""Takes the library's checkpoints, gives the replies around them."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from sdxl_gateway.gateway.checkpoint_card import Checkpoint, CheckpointProblem


class CheckpointList(TypedDict):
    """All checkpoints, and what lies in their folder and cannot be used; lists are always whole here."""

    object: Literal["list"]
    data: list[Checkpoint]
    problems: list[CheckpointProblem]
    has_more: Literal[False]


class DeletedCheckpoint(TypedDict):
    """Says that a checkpoint is gone."""

    id: str
    object: Literal["checkpoint"]
    deleted: Literal[True]


def checkpoint_list(checkpoints: list[Checkpoint], problems: list[CheckpointProblem]) -> CheckpointList:
    """The list, with the problems beside it."""
    return {"object": "list", "data": checkpoints, "problems": problems, "has_more": False}


def deleted_checkpoint(name: str) -> DeletedCheckpoint:
    """The reply to a removal."""
    return {"id": name, "object": "checkpoint", "deleted": True}
