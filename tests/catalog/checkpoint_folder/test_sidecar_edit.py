"""A checkpoint's side-car is changed where it is to be; what lies elsewhere stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_gateway.catalog.checkpoint_folder.catalog import CheckpointCatalog
from sdxl_gateway.config import CheckpointFolder
from sdxl_gateway.core.errors import InvalidRequest, ModelNotFound, WrongState
from tests.kit.admission import demo
from tests.kit.model_folders import copy_of_demo

BY_HAND = """# from the author's page
vae = "demo" # rounder
wieght = 1
steps = 30
"""


@pytest.fixture
def catalog(tmp_path: Path) -> CheckpointCatalog:
    copy_of_demo(tmp_path / "checkpoints" / "art" / "one")
    (tmp_path / "checkpoints" / "art" / "one.toml").write_text(BY_HAND)
    made = CheckpointCatalog({"demo": demo()}, CheckpointFolder(directory=tmp_path / "checkpoints"))
    made.scan()
    return made


async def test_the_catalogue_knows_at_once_and_what_nobody_named_stays(
    catalog: CheckpointCatalog, tmp_path: Path
) -> None:
    before = catalog["art/one"]
    entry = await catalog.change_sidecar("art/one", {"steps": None, "description": "Soft."})
    assert entry is catalog["art/one"]
    assert (entry.section.steps, entry.section.description, entry.section.vae) == (None, "Soft.", "demo")
    assert entry.digest == before.digest, "no other models"
    text = (tmp_path / "checkpoints" / "art" / "one.toml").read_text()
    assert text == BY_HAND.replace("steps = 30\n", 'description = "Soft."\n')


async def test_what_decides_the_models_is_another_digest(catalog: CheckpointCatalog) -> None:
    before = catalog["art/one"].digest
    assert (await catalog.change_sidecar("art/one", {"prediction_type": "v_prediction"})).digest != before
    assert (await catalog.change_sidecar("art/one", {"prediction_type": None})).digest == before


async def test_what_lies_elsewhere_stays(catalog: CheckpointCatalog, tmp_path: Path) -> None:
    with pytest.raises(WrongState, match="stands in the settings"):
        await catalog.change_sidecar("demo", {"steps": 4})
    with pytest.raises(ModelNotFound):
        await catalog.change_sidecar("../art/one", {"steps": 4})
    outside = copy_of_demo(tmp_path / "outside" / "far")
    (tmp_path / "checkpoints" / "linked").symlink_to(outside.parent)
    catalog.scan()
    with pytest.raises(InvalidRequest, match="leads out"):
        await catalog.change_sidecar("linked/far", {"steps": 4})
    assert [path.name for path in outside.parent.iterdir()] == ["far"]


async def test_a_folder_that_cannot_be_written_to_is_told(
    catalog: CheckpointCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("sdxl_gateway.catalog.lora_folder.sidecar_edit.write_whole", refused)
    with pytest.raises(WrongState, match="cannot be written"):
        await catalog.change_sidecar("art/one", {"steps": 4})
