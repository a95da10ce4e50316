"""Opens the configured VAE for previews, if there is one."""

from __future__ import annotations

import json
from pathlib import Path

from sdxl_gateway.catalog.model_files import headers, resolve_folder
from sdxl_gateway.config import DEMO_MODEL
from sdxl_gateway.core.errors import CheckpointProblem

CLASS = "AutoencoderTiny"


def preview_vae_folder(path: str | None) -> Path | None:
    """The folder, or fetched Hub model, of a tiny VAE. Raises CheckpointProblem for anything else."""
    if path is None:
        return None
    try:
        folder = resolve_folder(path, DEMO_MODEL)
    except CheckpointProblem as problem:
        raise CheckpointProblem(f"engine.preview_vae: {problem}") from None
    try:
        kind = json.loads((folder / "config.json").read_text("utf-8")).get("_class_name")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise CheckpointProblem("engine.preview_vae: 'config.json' is missing or not readable.") from error
    if kind != CLASS:
        raise CheckpointProblem(f"engine.preview_vae: this is a {kind}, and not an {CLASS}.")
    parameters(folder)
    return folder


def parameters(folder: Path) -> int:
    """The number of its parameters. Raises CheckpointProblem for files that cannot be used."""
    return sum(header.parameters for header in headers(folder))
