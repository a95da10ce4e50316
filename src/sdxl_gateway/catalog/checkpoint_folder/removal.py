"""Removes a checkpoint from the folder: out of sight at once, however long deleting its files takes."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from sdxl_gateway.catalog.checkpoint_folder.sidecar import sidecar_path
from sdxl_gateway.catalog.lora_folder.upload import check_within, writing
from sdxl_gateway.core.files import sync_folder

REMOVED = ".removed-"
"""The prefix of a folder that is being deleted, which scans of the checkpoint folder skip."""


@writing()
def remove_checkpoint(root: Path, checkpoint: Path) -> None:
    """Remove the file or folder below `root`, and its side-car; if it is a link, only the link.

    Raises InvalidRequest if links lead out of `root`, OSError, and as `writing`.
    """
    check_within(root, checkpoint.parent)
    if checkpoint.is_dir() and not checkpoint.is_symlink():
        checkpoint.rename(checkpoint.with_name(f"{REMOVED}{secrets.token_hex(8)}"))
    else:
        checkpoint.unlink(missing_ok=True)
    sidecar_path(checkpoint).unlink(missing_ok=True)
    sync_folder(checkpoint.parent)
    for left in checkpoint.parent.glob(f"{REMOVED}*"):  # also those of a server that was killed meanwhile
        shutil.rmtree(left)
