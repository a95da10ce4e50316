"""Puts new LoRA files into the folder, and removes files from it."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from sdxl_gateway.catalog.lora_folder.copies import IncomingCopy
from sdxl_gateway.catalog.lora_folder.marks import Mark, settled_mark
from sdxl_gateway.catalog.lora_folder.names import SUFFIX, check_new_name, without_suffix
from sdxl_gateway.catalog.lora_folder.sidecar import sidecar_path
from sdxl_gateway.catalog.lora_format.peft_folder import folder_parts
from sdxl_gateway.core.errors import BodyTooLarge, InvalidRequest, WrongState
from sdxl_gateway.core.files import IncomingFile

NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def writing() -> Iterator[None]:
    """Raises WrongState if the server has no permission to write to the folder."""
    try:
        yield
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        raise WrongState("The folder cannot be written to by the server.", param="name") from error


def upload_path(root: Path, name: str) -> Path:
    """The path of a new LoRA of that name. Raises InvalidRequest for an invalid name."""
    check_new_name(name)
    folder, _, last = without_suffix(name).rpartition("/")
    return root.joinpath(*folder.split("/"), last + SUFFIX)


@asynccontextmanager
async def received(
    data_directory: Path, content: bytes | AsyncIterable[bytes], max_bytes: int
) -> AsyncIterator[IncomingCopy]:
    """The whole content as a copy that is not in the store yet, and is removed at the end unless it was put there.

    Raises BodyTooLarge above `max_bytes`, and whatever `content` raises.
    """
    with await asyncio.to_thread(IncomingCopy, data_directory) as copy:
        async for chunk in _chunks(content):
            if copy.size_bytes + len(chunk) > max_bytes:
                raise BodyTooLarge(f"A LoRA file has at most {max_bytes} bytes.", param="file")
            await asyncio.to_thread(copy.write, chunk)
        await asyncio.to_thread(copy.settle)
        yield copy


async def _chunks(content: bytes | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(content, bytes):
        yield content
    else:
        async for chunk in content:
            yield chunk


@writing()
def put_file(root: Path, source: Path, target: Path, *, replace: bool) -> Mark:
    """Copy `source` to `target` in the folder `root`, whole or not at all; the mark of the new file.

    Raises InvalidRequest for a target outside the folder, or one that exists without `replace`; and as `writing`.
    """
    make_place(root, target)
    with IncomingFile(target.parent) as file:
        shutil.copyfile(source, file.path)
        file.settle()
        file.path.chmod(0o644)
        mark = settled_mark(file.path.stat)
        try:
            file.becomes(target, replace=replace)
        except FileExistsError as error:
            raise name_taken() from error
    return mark


def check_within(root: Path, folder: Path) -> None:
    """Raises InvalidRequest if links lead from `root` to a folder outside of it."""
    real_root, real_folder = os.path.realpath(root), os.path.realpath(folder)
    if real_folder != real_root and not real_folder.startswith(real_root + os.sep):
        raise InvalidRequest("That name leads out of the folder.", param="name")


def make_place(root: Path, target: Path) -> None:
    """Create the folder of `target`, below `root`. Raises InvalidRequest if that is impossible."""
    check_within(root, target.parent)
    root.mkdir(parents=True, exist_ok=True)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest("A folder of that name cannot be made.", param="name") from error


def name_taken() -> InvalidRequest:
    """The refusal of a name that another LoRA has."""
    return InvalidRequest("A LoRA of that name exists already.", param="name")


@writing()
def remove_source(path: Path) -> None:
    """Remove a file, or the files that make a folder a PEFT adapter, and its side-car. Raises as `writing`."""
    files = [file for part in folder_parts(path) for file in part.files] if path.is_dir() else [path]
    for file in [*files, sidecar_path(path)]:
        file.unlink(missing_ok=True)
