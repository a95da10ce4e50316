"""A checkpoint goes with its side-car and nothing else, and only from the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_gateway.catalog.checkpoint_folder.catalog import CheckpointCatalog
from sdxl_gateway.catalog.checkpoint_folder.removal import REMOVED, remove_checkpoint
from sdxl_gateway.config import CheckpointFolder
from sdxl_gateway.core.errors import InvalidRequest, WrongState
from tests.kit.admission import demo
from tests.kit.model_folders import copy_of_demo


def below(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_a_folder_goes_with_its_side_car(tmp_path: Path) -> None:
    for name in ("one", "two"):
        copy_of_demo(tmp_path / name)
        (tmp_path / f"{name}.toml").write_text("steps = 4\n")
    (tmp_path / f"{REMOVED}before").mkdir()
    catalog = CheckpointCatalog({"demo": demo()}, CheckpointFolder(directory=tmp_path))
    catalog.scan()
    await catalog.remove("one")
    assert (list(catalog), below(tmp_path)) == (["demo", "two"], {"two", "two.toml"})
    with pytest.raises(WrongState, match="stands in the settings"):
        await catalog.remove("demo")


def test_a_file_goes_and_of_a_link_the_link_alone(tmp_path: Path) -> None:
    root, outside = tmp_path / "checkpoints", tmp_path / "outside"
    outside.mkdir()
    root.mkdir()
    (outside / "far.safetensors").write_bytes(b"far")
    (root / "near.safetensors").write_bytes(b"near")
    (root / "far.safetensors").symlink_to(outside / "far.safetensors")
    (root / "all").symlink_to(outside)
    for name in ("near.safetensors", "far.safetensors"):
        remove_checkpoint(root, root / name)
    with pytest.raises(InvalidRequest, match="leads out"):
        remove_checkpoint(root, root / "all" / "far.safetensors")
    remove_checkpoint(root, root / "all")
    assert (below(root), below(outside)) == (set(), {"far.safetensors"})
