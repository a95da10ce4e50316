"""Receives a new checkpoint, a single .safetensors file, and puts it into the folder, whole or not at all.

Its header is checked as soon as it has arrived: what is not SDXL, or is too large, is refused before the rest is sent.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from sdxl_gateway.catalog.checkpoint_folder.sidecar import read_section
from sdxl_gateway.catalog.checkpoints import open_checkpoint
from sdxl_gateway.catalog.lora_folder.names import SUFFIX
from sdxl_gateway.catalog.lora_folder.upload import make_place
from sdxl_gateway.catalog.model_files import CHECKPOINT_CAPS
from sdxl_gateway.catalog.safetensors_header import LENGTH_BYTES, METADATA_KEY
from sdxl_gateway.config import DEMO_MODEL
from sdxl_gateway.core.errors import BodyTooLarge, CheckpointProblem, InvalidRequest
from sdxl_gateway.core.files import INCOMING_PREFIX, IncomingFile

LEFT_SECONDS = 86400
"""Incoming files older than this were left by a server that was killed."""


@asynccontextmanager
async def incoming(root: Path, target: Path) -> AsyncIterator[IncomingFile]:
    """A file for incoming data beside `target`, below `root`; removed at the end unless it was put in place.

    Raises InvalidRequest for a path outside of `root`.
    """
    with ExitStack() as stack:
        file = stack.enter_context(await asyncio.to_thread(_begun, root, target))
        try:
            yield file
        finally:
            await asyncio.to_thread(stack.close)  # deleting gigabytes takes time


def _begun(root: Path, target: Path) -> IncomingFile:
    make_place(root, target)
    for left in target.parent.glob(f"{INCOMING_PREFIX}*"):
        if time.time() - left.stat().st_mtime > LEFT_SECONDS:
            left.unlink(missing_ok=True)
    return IncomingFile(target.parent, 0o644)


async def receive(file: IncomingFile, target: Path, content: AsyncIterable[bytes], max_bytes: int) -> None:
    """Write the whole checkpoint to `file`; a side-car that is already beside `target` is taken into account.

    Raises InvalidRequest, BodyTooLarge, and whatever `content` raises.
    """
    judge, size, head = _Judge(file.path, target, max_bytes), 0, bytearray()
    whole: int | None = None
    async for chunk in content:
        size += len(chunk)
        if size > max_bytes:
            raise too_large(max_bytes)
        await asyncio.to_thread(file.write, chunk)
        if whole is None:
            head += chunk
            if len(head) >= _header_end(head):
                await asyncio.to_thread(file.settle)
                whole = await asyncio.to_thread(judge, bytes(head))
    if not size:
        raise InvalidRequest("Invalid file 'file': the file is empty.", param="file", code="empty_file")
    if size != whole:
        raise InvalidRequest("The file is not as long as its header says.", param="file")


class _Judge:
    """Checks the header at the beginning of a file, and returns the size in bytes of the whole file."""

    def __init__(self, path: Path, target: Path, max_bytes: int) -> None:
        self._path = path
        self._target = target
        self._max_bytes = max_bytes

    def __call__(self, head: bytes) -> int:
        """The rest of the file is a hole meanwhile, so that the catalogue can open it like any other file."""
        whole = _whole_bytes(head)
        if whole > self._max_bytes:
            raise too_large(self._max_bytes)
        os.truncate(self._path, whole)
        self._look()
        return whole

    def _look(self) -> None:
        """Open it under a temporary name with a checkpoint's suffix, because the name is checked too."""
        shell = self._path.with_suffix(SUFFIX)
        section = read_section(self._target)[0].model_copy(update={"path": str(shell)})
        os.link(self._path, shell)
        try:
            open_checkpoint(self._target.stem, section, DEMO_MODEL)
        except CheckpointProblem as problem:
            message = str(problem).replace(str(shell), self._target.name).replace(shell.name, self._target.name)
            raise InvalidRequest(message, param="file") from problem
        finally:
            shell.unlink()


def too_large(max_bytes: int) -> BodyTooLarge:
    """The refusal of a file that is too large."""
    return BodyTooLarge(f"A checkpoint file has at most {max_bytes} bytes.", param="file")


def _header_end(head: bytes | bytearray) -> int:
    """The end of the header that the first bytes announce; if that is too long, it is checked at once, and refused."""
    if len(head) < LENGTH_BYTES:
        return LENGTH_BYTES
    length = int.from_bytes(head[:LENGTH_BYTES], "little")
    return LENGTH_BYTES + (length if length <= CHECKPOINT_CAPS.max_header_bytes else 0)


def _whole_bytes(head: bytes) -> int:
    """The file's size by its own header; whether that is consistent is checked when the catalogue opens it."""
    end = _header_end(head)
    try:
        entries = json.loads(head[LENGTH_BYTES:end])
        ends = [int(entry["data_offsets"][1]) for name, entry in entries.items() if name != METADATA_KEY]
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError) as error:
        raise InvalidRequest("This is not a safetensors file.", param="file") from error
    return end + max([0, *ends])
