"""A checkpoint that the settings name is opened again when other files lie there, and only then."""

from __future__ import annotations

from pathlib import Path

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.side_models import SideModels
from sdxl_gateway.config import Checkpoint, Settings
from tests.kit.model_folders import UNET_FILE, change_json, change_weights, copy_of_demo


def test_a_checkpoint_that_was_replaced_is_told(tmp_path: Path) -> None:
    folder, told = copy_of_demo(tmp_path / "mine"), list[CheckpointEntry]()
    settings = Settings(data_directory=tmp_path / "data", checkpoints={"mine": Checkpoint(path=str(folder))})
    models = SideModels.open(settings, on_checkpoint=told.append)
    models.refresh()
    assert told == []
    before = models.checkpoints["mine"]
    change_weights(folder / UNET_FILE, lambda tensors: tensors.update({k: v * 2 for k, v in tensors.items()}))
    models.refresh()
    change_json(folder / "unet" / "config.json", sample_size=64)
    models.refresh()
    assert [one.name for one in told] == ["mine", "mine"]
    assert len({before.digest, *(one.digest for one in told)}) == 3
    assert told[1].native_area == 4 * before.native_area
