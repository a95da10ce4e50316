"""Stored files, as OpenAI's replies describe them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from typing_extensions import TypedDict

from sdxl_gateway.api.replies.pages import ListPage, ends
from sdxl_gateway.storage.file_table import StoredFile


class FileObject(TypedDict):
    """A file; times are unix seconds, `expires_at` is null for a file that is kept until it is deleted."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: Literal["processed"]


class FileList(ListPage):
    """A page of files, newest first unless asked otherwise; pass `last_id` as `after` for the next page."""

    data: list[FileObject]


class FileDeleted(TypedDict):
    """Confirms that a file was deleted."""

    id: str
    object: Literal["file"]
    deleted: Literal[True]


def file_object(file: StoredFile) -> FileObject:
    """The file as a JSON object."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": int(file.created),
        "expires_at": None if file.expires is None else int(file.expires),
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
    }


def file_list(page: Sequence[StoredFile], *, has_more: bool) -> FileList:
    """A page of files as a JSON object."""
    return {
        "object": "list",
        "data": [file_object(file) for file in page],
        **ends([one.id for one in page], has_more=has_more),
    }


def file_deleted(file: StoredFile) -> FileDeleted:
    """The reply to a deletion."""
    return {"id": file.id, "object": "file", "deleted": True}
