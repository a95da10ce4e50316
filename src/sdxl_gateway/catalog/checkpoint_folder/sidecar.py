"""Reads a checkpoint's side-car, `NAME.toml` beside it, as if it were a `[checkpoints.NAME]` section."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sdxl_gateway.catalog.lora_folder.names import without_suffix
from sdxl_gateway.catalog.lora_folder.sidecar import SUFFIX, read_table
from sdxl_gateway.catalog.model_files import resolve_model
from sdxl_gateway.config import DEMO_MODEL, Checkpoint
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.core.text import cleaned

MAX_KEY_CHARS = 60
MAX_REASON_CHARS = 300


def sidecar_path(checkpoint: Path) -> Path:
    """The path of the side-car of a checkpoint's file or folder."""
    return checkpoint.with_name(without_suffix(checkpoint.name) + SUFFIX)


def read_section(checkpoint: Path) -> tuple[Checkpoint, tuple[str, ...]]:
    """The section, and the side-car's problems, naming file and key; unusable keys are ignored."""
    plain = Checkpoint(path=str(checkpoint))
    path = sidecar_path(checkpoint)
    if not path.exists():
        return plain, ()
    try:
        table = read_table(path)
    except ValueError as problem:
        return plain, (f"{path.name}: {problem}.",)
    section, wrong = _validated(plain, table)
    return section, tuple(f"{path.name}: '{cleaned(key, MAX_KEY_CHARS)}' {reason}." for key, reason in wrong.items())


def _validated(plain: Checkpoint, table: dict[str, Any]) -> tuple[Checkpoint, dict[str, str]]:
    """The section, where each key is validated by the section's own rules, and the reasons of refused keys."""
    said = {key: value for key, value in table.items() if key != "path"}
    wrong = {"path": "is the checkpoint itself, and not for a side-car to say"} if "path" in table else {}
    try:
        section = Checkpoint.model_validate({**said, "path": plain.path})
    except ValidationError as error:
        wrong |= {str(found["loc"][0]): _reason(found) for found in error.errors(include_url=False)}
        section = Checkpoint.model_validate(
            {key: value for key, value in said.items() if key not in wrong} | {"path": plain.path}
        )
    if section.vae is not None and not _is_there(section.vae):
        wrong["vae"] = "is neither a folder, a file nor a fetched Hub model"
        section = section.model_copy(update={"vae": None})
    return section, wrong


def _reason(found: ErrorDetails) -> str:
    if found["type"] == "extra_forbidden":
        return "is no such key"
    told = found["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"cannot be used: {cleaned(told[:1].lower() + told[1:], MAX_REASON_CHARS)}"


def _is_there(vae: str) -> bool:
    try:
        resolve_model(vae, DEMO_MODEL)
    except CheckpointProblem:
        return False
    return True
