"""Opens the configured upscalers, which are recognized by their files' headers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sdxl_gateway.catalog.safetensors_header import Header, read_header
from sdxl_gateway.config import HeaderCaps, Upscaler
from sdxl_gateway.core.errors import AdapterRefused, CheckpointProblem

Shapes = Mapping[str, tuple[int, ...]]
WRAPPERS = ("params_ema.", "params.")
"""Prefixes that trainers put before each name."""
RGB = 3
_UNSHUFFLED = {RGB: 4, RGB * 4: 2, RGB * 16: 1}
"""Real-ESRGAN for smaller scales first folds pixels into more channels, and then enlarges by four."""
_OLD_LAST = re.compile(r"model\.(\d+)\.weight")


class Architecture(StrEnum):
    """The nets of the ESRGAN family; `RRDB_OLD` is RRDB with the tensor names of its first release."""

    RRDB = "rrdb"
    RRDB_OLD = "rrdb_old"
    COMPACT = "compact"


@dataclass(frozen=True, slots=True)
class UpscalerEntry:
    """A net that enlarges `scale` times along each side; `features` and `blocks` are its width and depth.

    `detail` is the strength of repainting the enlarged picture if a request does not set it.
    """

    name: str
    path: Path
    digest: str
    architecture: Architecture
    scale: int
    features: int
    blocks: int
    detail: float = 0.0


def open_upscalers(upscalers: Mapping[str, Upscaler]) -> dict[str, UpscalerEntry]:
    """All upscalers, by name. Raises CheckpointProblem for the first that cannot be used."""
    return {name: open_upscaler(name, section) for name, section in upscalers.items()}


def open_upscaler(name: str, section: Upscaler) -> UpscalerEntry:
    """The upscaler of one `[upscalers.*]` section. Raises CheckpointProblem if the file is not one."""
    try:
        header = read_header(section.path, HeaderCaps())
    except AdapterRefused as error:
        raise CheckpointProblem(f"Upscaler '{name}': {error.message}") from error
    found = _told_by(_shapes(header))
    if found is None:
        raise CheckpointProblem(f"Upscaler '{name}' is no net of the ESRGAN family (RRDB or compact).")
    architecture, scale, features, blocks = found
    digest = _digest(section.path)
    return UpscalerEntry(name, section.path, digest, architecture, scale, features, blocks, section.detail)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unwrapped(name: str) -> str:
    """A tensor's name without a trainer's prefix."""
    return next((name.removeprefix(one) for one in WRAPPERS if name.startswith(one)), name)


def _shapes(header: Header) -> Shapes:
    return {unwrapped(name): tensor.shape for name, tensor in header.tensors.items()}


def _told_by(shapes: Shapes) -> tuple[Architecture, int, int, int] | None:
    for look in (_rrdb, _rrdb_old, _compact):
        if (found := look(shapes)) is not None:
            return found
    return None


def _rrdb(shapes: Shapes) -> tuple[Architecture, int, int, int] | None:
    first, block = shapes.get("conv_first.weight", ()), "body.{}.rdb3.conv5.weight"
    if len(first) != 4 or first[1] not in _UNSHUFFLED or block.format(0) not in shapes:
        return None
    return Architecture.RRDB, _UNSHUFFLED[first[1]], first[0], _count(shapes, block)


def _rrdb_old(shapes: Shapes) -> tuple[Architecture, int, int, int] | None:
    first, block = shapes.get("model.0.weight", ()), "model.1.sub.{}.RDB3.conv5.0.weight"
    places = sorted(int(match[1]) for name in shapes if (match := _OLD_LAST.fullmatch(name)))
    if len(first) != 4 or first[1] != RGB or block.format(0) not in shapes:
        return None
    # One convolution for each doubling, three places apart, then two more.
    return Architecture.RRDB_OLD, 2 ** (places[-1] // 3 - 1), first[0], _count(shapes, block)


def _compact(shapes: Shapes) -> tuple[Architecture, int, int, int] | None:
    convolutions = {int(name.split(".")[1]): shape for name, shape in shapes.items() if _is_convolution(name, shape)}
    if 0 not in convolutions:
        return None
    first, last = convolutions[0], convolutions[max(convolutions)]
    scale = round((last[0] / RGB) ** 0.5)
    if first[1] != RGB or last[0] != RGB * scale**2:
        return None
    return Architecture.COMPACT, scale, first[0], len(convolutions) - 2


def _is_convolution(name: str, shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and re.fullmatch(r"body\.\d+\.weight", name) is not None


def _count(shapes: Shapes, block: str) -> int:
    count = 0
    while block.format(count) in shapes:
        count += 1
    return count
