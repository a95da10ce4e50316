"""The manifest of a checkpoint: each file with its size and sha256, from the disk or as stored in a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from sdxl_gateway.catalog.checkpoint_folder.sidecar import sidecar_path
from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.lora_folder.names import SUFFIX, check_new_name
from sdxl_gateway.config.section import Bytes, Section
from sdxl_gateway.core.errors import CheckpointProblem, InvalidRequest
from sdxl_gateway.s3.registry import DIGEST, sha256_of

SIDECAR = ".toml"
TEXTS = (".json", ".txt")
MAX_FILES = 500
MAX_TEXT_BYTES = 16 * 2**20
"""CLIP's vocabulary is a text; files other than weights are fetched before anybody asks for the checkpoint."""
BROKEN = "What the bucket says of it cannot be read."


class Part(Section):
    """One file of a checkpoint."""

    sha256: Annotated[str, StringConstraints(pattern=DIGEST.pattern, min_length=64, max_length=64)]
    size_bytes: Bytes

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read the file."""
        return cls(sha256=sha256_of(path), size_bytes=path.stat().st_size)


class Manifest(Section):
    """A checkpoint's files, by their paths below a checkpoint folder, where its name is `name`.

    `created` is unix seconds. It consists of one file, or of those below one folder, and possibly a side-car.
    """

    name: str
    created: Annotated[int, Field(ge=0)]
    files: Annotated[dict[str, Part], Field(min_length=1, max_length=MAX_FILES)]

    @property
    def size_bytes(self) -> int:
        """The size of all files together."""
        return sum(part.size_bytes for part in self.files.values())

    def written(self) -> bytes:
        """The manifest as it is stored in the bucket."""
        return self.model_dump_json().encode()

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Raises CheckpointProblem if it is invalid, or has a path outside of the checkpoint's own file or folder."""
        try:
            return cls.model_validate_json(data)
        except (ValidationError, InvalidRequest) as problem:
            raise CheckpointProblem(BROKEN) from problem

    @model_validator(mode="after")
    def _at_its_place(self) -> Self:
        check_new_name(self.name)
        for place, part in self.files.items():
            check_new_name(place)
            own = place in (self.name + SUFFIX, self.name + SIDECAR) or place.startswith(f"{self.name}/")
            text = place.endswith((*TEXTS, SIDECAR)) and part.size_bytes <= MAX_TEXT_BYTES
            if not own or not (text or place.endswith(SUFFIX)):
                raise ValueError(f"'{place}' is no file of the checkpoint")
        return self


def files_of(checkpoint: Path, name: str) -> dict[str, Path]:
    """The files by their paths below a checkpoint folder, if the checkpoint's name is `name`; with the side-car."""
    found = {f"{name}{SUFFIX}": checkpoint} if checkpoint.is_file() else dict(_inside(checkpoint, name))
    if (sidecar := sidecar_path(checkpoint)).exists():
        found[name + SIDECAR] = sidecar
    return found


def _inside(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        if path.suffix in (*TEXTS, SUFFIX) and path.is_file() and not any(one.startswith(".") for one in below.parts):
            yield f"{name}/{below.as_posix()}", path


def manifest_of(entry: CheckpointEntry) -> Manifest:
    """Reads all its files. Raises InvalidRequest for a name that is not valid on every file system."""
    check_new_name(entry.name)
    files = {place: Part.of(path) for place, path in files_of(entry.path, entry.name).items()}
    return Manifest(name=entry.name, created=entry.created, files=files)
