"""Makes the shell of a checkpoint in a bucket: the same files, with holes in place of the weights.

A shell contains everything that the catalogue reads of a checkpoint: whole texts, and of weights the header and the
samples for the fingerprint. So the checkpoint is checked and known as if it were local, for a few megabytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sdxl_gateway.catalog.lora_folder.names import has_suffix
from sdxl_gateway.catalog.model_files import CHECKPOINT_CAPS, sampled
from sdxl_gateway.catalog.safetensors_header import LENGTH_BYTES
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.s3.checkpoint_registry import CheckpointRegistry
from sdxl_gateway.s3.manifest import Manifest, Part
from sdxl_gateway.s3.mirror import LIES
from sdxl_gateway.s3.registry import sha256_of

ReadParts = Callable[[list[range]], list[bytes]]


def make_shell(registry: CheckpointRegistry, manifest: Manifest, folder: Path) -> None:
    """Make it below `folder`, as in a checkpoint folder. Raises CheckpointProblem, Gone, Unavailable, OSError."""
    for place, part in manifest.files.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if has_suffix(place):
            write_holes(path, part.size_bytes, partial(registry.bucket.parts, registry.file_key(part.sha256)))
        else:
            path.write_bytes(_text(registry, part))
        os.utime(path, (manifest.created, manifest.created))


def _text(registry: CheckpointRegistry, part: Part) -> bytes:
    data = registry.bucket.read(registry.file_key(part.sha256))
    if sha256_of(data) != part.sha256:
        raise CheckpointProblem(LIES)
    return data


def write_holes(path: Path, size_bytes: int, read: ReadParts) -> None:
    """Write a safetensors file of that size with only its header and samples; the rest is a hole."""
    samples = sampled(size_bytes)
    parts = dict(zip(samples, read(samples), strict=True))
    length = int.from_bytes(parts[samples[0]][:LENGTH_BYTES], "little")
    header = range(LENGTH_BYTES + length)
    if len(samples[0]) < header.stop <= min(size_bytes, LENGTH_BYTES + CHECKPOINT_CAPS.max_header_bytes):
        parts[header] = read([header])[0]
    with path.open("wb") as file:
        for place, data in parts.items():
            file.seek(place.start)
            file.write(data)
        file.truncate(size_bytes)
