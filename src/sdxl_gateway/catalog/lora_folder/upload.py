"""Takes the bytes of a new LoRA, gives the path it was saved at, once every check has passed."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from sdxl_gateway.catalog.lora_folder.scan import LoraEntry, check_name
from sdxl_gateway.catalog.lora_folder.sidecar import sidecar_path
from sdxl_gateway.catalog.lora_folder.walk import MAX_DEPTH, SUFFIX, place_name
from sdxl_gateway.catalog.lora_format.peft_folder import folder_parts
from sdxl_gateway.catalog.lora_format.plan import plan_lora
from sdxl_gateway.catalog.safetensors_header import read_header
from sdxl_gateway.config import Loras
from sdxl_gateway.core.errors import AdapterRefused, BodyTooLarge, InvalidRequest

_INCOMING = ".incoming-"
_FORBIDDEN = frozenset('\\:*?"<>|')
_DEVICE_NAMES = frozenset({"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10))})


async def save_upload(
    root: Path,
    name: str,
    content: bytes | AsyncIterable[bytes],
    *,
    limits: Loras,
    shapes: Mapping[str, tuple[int, ...]] | None,
    taken: Callable[[str], LoraEntry | None] | None,
) -> Path:
    """Saves as `root/name.safetensors`; `taken` None allows replacing. Raises InvalidRequest, BodyTooLarge and
    AdapterRefused, and leaves nothing behind then."""
    target = upload_path(root, name)
    if taken is not None and taken(place_name(target.relative_to(root).as_posix())) is not None:
        raise InvalidRequest("A LoRA of that name exists already.", param="name")
    incoming = await asyncio.to_thread(_make_incoming, root)
    try:
        await _receive(incoming, content, limits.max_file_bytes)
        await asyncio.to_thread(_check, incoming, limits, shapes)
        await asyncio.to_thread(_put, root, incoming, target, taken is None)
    finally:
        incoming.unlink(missing_ok=True)
    return target


def upload_path(root: Path, name: str) -> Path:
    """Where a new LoRA of that name goes. Raises InvalidRequest unless every part is a plain file name."""
    plain = name.removesuffix(SUFFIX)
    if plain.count("/") >= MAX_DEPTH:
        raise InvalidRequest(f"A LoRA's name has at most {MAX_DEPTH} parts.", param="name")
    for part in plain.split("/"):
        stem = part.partition(".")[0].casefold()
        if not part or part.startswith(".") or part.endswith((".", " ")) or _FORBIDDEN & set(part):
            raise InvalidRequest("A LoRA's name is made of plain file names, separated by '/'.", param="name")
        if stem in _DEVICE_NAMES:
            raise InvalidRequest("A LoRA cannot have the name of a device.", param="name")
    try:
        check_name(plain)
    except AdapterRefused as refused:
        raise InvalidRequest(refused.message, param="name") from refused
    return root.joinpath(*plain.split("/")).with_name(plain.rpartition("/")[2] + SUFFIX)


def _make_incoming(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    descriptor, path = tempfile.mkstemp(dir=root, prefix=_INCOMING)
    os.close(descriptor)
    return Path(path)


async def _receive(incoming: Path, content: bytes | AsyncIterable[bytes], max_bytes: int) -> None:
    file = await asyncio.to_thread(incoming.open, "wb")
    try:
        written = 0
        async for chunk in _chunks(content):
            written += len(chunk)
            if written > max_bytes:
                raise BodyTooLarge(f"A LoRA file has at most {max_bytes} bytes.")
            await asyncio.to_thread(file.write, chunk)
        await asyncio.to_thread(_settle, file)
    finally:
        file.close()


async def _chunks(content: bytes | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(content, bytes):
        yield content
    else:
        async for chunk in content:
            yield chunk


def _settle(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _check(incoming: Path, limits: Loras, shapes: Mapping[str, tuple[int, ...]] | None) -> None:
    header = read_header(incoming, limits)
    if shapes is not None:
        plan_lora(header, shapes)


def _put(root: Path, incoming: Path, target: Path, replace: bool) -> None:
    real_root, real_parent = os.path.realpath(root), os.path.realpath(target.parent)
    if real_parent != real_root and not real_parent.startswith(real_root + os.sep):
        raise InvalidRequest("That name leads out of the LoRA folder.", param="name")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest("A folder of that name cannot be made.", param="name") from error
    incoming.chmod(0o644)
    if replace:
        incoming.replace(target)
        return
    try:
        # A link fails where a rename would silently overwrite a file that came a moment ago.
        os.link(incoming, target)
    except FileExistsError as error:
        raise InvalidRequest("A LoRA of that name exists already.", param="name") from error


def remove_source(path: Path) -> None:
    """Removes a file, or what makes a folder a PEFT adapter, and the side-car beside it."""
    files = [file for part in folder_parts(path) for file in part.files] if path.is_dir() else [path]
    for file in [*files, sidecar_path(path)]:
        file.unlink(missing_ok=True)
