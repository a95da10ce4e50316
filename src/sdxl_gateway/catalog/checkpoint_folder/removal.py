"""Takes a checkpoint of the folder out of it: gone at once, however long its files take."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from sdxl_gateway.catalog.checkpoint_folder.sidecar import sidecar_path
from sdxl_gateway.catalog.lora_folder.upload import check_within, writing
from sdxl_gateway.core.files import sync_folder

REMOVED = ".removed-"
"""What a folder is called from then on until all of it is gone; a look at the checkpoint folder passes over it."""


@writing()
def remove_checkpoint(root: Path, checkpoint: Path) -> None:
    """Removes the file or folder below `root` and its side-car; of a link the link alone.

    Raises InvalidRequest where links lead out of `root`, OSError, and as `writing`.
    """
    check_within(root, checkpoint.parent)
    if checkpoint.is_dir() and not checkpoint.is_symlink():
        checkpoint.rename(checkpoint.with_name(f"{REMOVED}{secrets.token_hex(8)}"))
    else:
        checkpoint.unlink(missing_ok=True)
    sidecar_path(checkpoint).unlink(missing_ok=True)
    sync_folder(checkpoint.parent)
    for left in checkpoint.parent.glob(f"{REMOVED}*"):  # of a server that was killed meanwhile, too
        shutil.rmtree(left)
