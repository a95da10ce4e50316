"""An engine finds the checkpoints in recipes: configured ones by name, the folder's by name and content."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sdxl_gateway.catalog.checkpoint_folder.scan import open_named
from sdxl_gateway.catalog.checkpoint_folder.stored import stored_folder
from sdxl_gateway.catalog.checkpoints import open_checkpoint
from sdxl_gateway.config import DEMO_MODEL, Checkpoint, CheckpointFolder
from sdxl_gateway.core.errors import CheckpointProblem, ModelNotFound, Unavailable
from sdxl_gateway.core.recipe import NO_BLEND, Phase
from sdxl_gateway.engine.load import _source
from sdxl_gateway.engine.models.sources import Sources
from tests.kit.engine import process_settings
from tests.kit.model_folders import change_json, copy_of_demo


def sources(folder: Path, checkpoints: dict[str, Checkpoint] | None = None) -> Sources:
    config = process_settings(folder, {"demo": Checkpoint(path="demo")})
    settings: dict[str, object] = {"checkpoint_folder": CheckpointFolder(directory=folder)}
    if checkpoints is not None:
        settings["checkpoints"] = checkpoints
    return Sources(config.model_copy(update=settings), _source)


def phase(folder: Path, name: str) -> Phase:
    return Phase(name, open_named(folder, name).digest, NO_BLEND)


def test_a_configured_one_is_known_by_its_name_whatever_the_folder_has(tmp_path: Path) -> None:
    found = sources(tmp_path)
    assert found.name_of(Phase("demo", "any digest", NO_BLEND)) == "demo"
    assert found.of("demo").path == DEMO_MODEL
    assert found.configured == ("demo",)


def test_what_comes_into_the_folder_is_found_when_it_is_asked_for(tmp_path: Path) -> None:
    found = sources(tmp_path)
    folder = copy_of_demo(tmp_path / "a@b")
    (tmp_path / "a@b.toml").write_text(f'vae = "{DEMO_MODEL}"')
    name = found.name_of(phase(tmp_path, "a@b"))
    assert (found.of(name).path, found.of(name).vae, found.of(name).name) == (folder, DEMO_MODEL / "vae", name)


def test_what_is_gone_is_not_found(tmp_path: Path) -> None:
    found, folder = sources(tmp_path), copy_of_demo(tmp_path / "one")
    name = found.name_of(phase(tmp_path, "one"))
    shutil.rmtree(folder)
    with pytest.raises(ModelNotFound, match="'one'"):
        found.of(name)


@pytest.mark.parametrize("broken", [False, True])
def test_what_was_changed_is_another_one(tmp_path: Path, broken: bool) -> None:
    found, folder = sources(tmp_path), copy_of_demo(tmp_path / "one")
    name = found.name_of(phase(tmp_path, "one"))
    change_json(folder / "scheduler" / "scheduler_config.json", timestep_spacing="trailing")
    if broken:
        (folder / "model_index.json").unlink()
    with pytest.raises(Unavailable, match="'one' was changed"):
        found.of(name)
    if not broken:
        assert found.name_of(phase(tmp_path, "one")) != name


def test_an_engine_begins_with_the_folders_or_the_first_configured(tmp_path: Path) -> None:
    found, folder = sources(tmp_path), copy_of_demo(tmp_path / "one")
    assert found.first(None).name == "demo"
    assert found.first("one").name == found.name_of(phase(tmp_path, "one"))
    (folder / "model_index.json").unlink()
    assert found.first("one").name == "demo"
    assert found.first("gone").name == "demo"
    with pytest.raises(CheckpointProblem):
        sources(tmp_path, {}).first("gone")


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A configured checkpoint's folder, outside of the watched one."""
    (tmp_path / "watched").mkdir()
    return copy_of_demo(tmp_path / "mine")


def configured(named: Path) -> Sources:
    return sources(named.parent / "watched", {"mine": Checkpoint(path=str(named))})


def meant(named: Path) -> Phase:
    return Phase("mine", open_checkpoint("mine", Checkpoint(path=str(named)), DEMO_MODEL).digest, NO_BLEND)


def test_what_took_the_place_of_a_configured_one_is_another_one(named: Path) -> None:
    found, before = configured(named), meant(named)
    assert found.name_of(before) == "mine"
    change_json(named / "scheduler" / "scheduler_config.json", timestep_spacing="leading")
    after = meant(named)
    assert found.name_of(after) == f"mine@{after.checkpoint_digest}"
    assert found.of(found.name_of(after)).scheduler_config()["timestep_spacing"] == "leading"
    assert (found.name_of(before), found.version_of("mine")) == ("mine", f"mine@{before.checkpoint_digest}")
    with pytest.raises(Unavailable, match="'mine' was changed"):
        found.of("mine")
    change_json(named / "scheduler" / "scheduler_config.json", timestep_spacing="linspace")
    with pytest.raises(Unavailable, match="'mine' was changed"):
        found.of(found.name_of(after))


def test_one_that_is_half_written_is_not_what_it_was(named: Path) -> None:
    found, before = configured(named), meant(named)
    (named / "model_index.json").unlink()
    assert found.name_of(Phase("mine", "another", NO_BLEND)) == "mine@another"
    for name in ("mine@another", found.name_of(before)):
        with pytest.raises(Unavailable, match="'mine' was changed"):
            found.of(name)


def test_an_engine_that_begins_later_has_the_new_one_by_its_name(named: Path) -> None:
    change_json(named / "scheduler" / "scheduler_config.json", timestep_spacing="leading")
    assert configured(named).name_of(meant(named)) == "mine"


def test_what_came_from_elsewhere_is_found_by_its_content(tmp_path: Path) -> None:
    found, stored = sources(tmp_path), stored_folder(tmp_path)
    copy_of_demo(stored / ("1" * 64) / "one")
    change_json(copy_of_demo(tmp_path / "one") / "scheduler" / "scheduler_config.json", timestep_spacing="trailing")
    shared, own = phase(stored / ("1" * 64), "one"), phase(tmp_path, "one")
    assert found.of(found.name_of(shared)).path == stored / ("1" * 64) / "one"
    assert found.of(found.name_of(own)).path == tmp_path / "one"
    assert found.first("one").path == tmp_path / "one"
    shutil.rmtree(tmp_path / "one")
    assert found.first("one").path == stored / ("1" * 64) / "one"
    (stored / ("1" * 64)).rename(stored / f"{'1' * 64}.partial")
    with pytest.raises(ModelNotFound):
        found.of(found.name_of(shared))
