"""ControlNets in the pool: on the ledger like every model, pinned by recipes, evicted when others need their room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sdxl_gateway.catalog.controls import ControlEntry, open_control
from sdxl_gateway.config import Checkpoint, Control, Memory
from sdxl_gateway.core.errors import DoesNotFit, EngineFault, Unavailable
from sdxl_gateway.core.picture import Inputs
from sdxl_gateway.core.recipe import Control as Asked
from sdxl_gateway.core.recipe import Recipe, control_role
from sdxl_gateway.engine.engine import DiffusionEngine
from sdxl_gateway.engine.load import open_engine
from sdxl_gateway.engine.memory.ledger import VRAM
from sdxl_gateway.engine.models.controls import CONTROL
from sdxl_gateway.engine.models.pool import ModelPool
from tests.kit.control_folders import control_folder
from tests.kit.engine import Studio, photo, process_settings, recipe
from tests.kit.model_folders import change_json

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@contextmanager
def opened(tmp_path: Path, folders: dict[str, Path], budget_bytes: int = 2**30) -> Iterator[Studio]:
    sections = {name: Control(path=str(folder)) for name, folder in folders.items()}
    config = process_settings(tmp_path / "data", {"demo": Checkpoint(path="demo")}, sections)
    config = config.model_copy(update={"memory": Memory(vram_budget_bytes=budget_bytes)})
    engine: DiffusionEngine = open_engine(config, lambda _: None)
    yield Studio(engine, tmp_path, tmp_path / "data")
    engine.close()


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return {name: control_folder(tmp_path / name, seed) for seed, name in enumerate(("canny", "depth"))}


def entry(folder: Path) -> ControlEntry:
    return open_control("any", Control(path=str(folder)))


def following(*folders: Path) -> Recipe:
    return recipe(steps=1, controls=tuple(Asked("any", entry(folder).digest, 1.0) for folder in folders))


def maps(count: int = 1) -> Inputs:
    return Inputs({control_role(i): photo() for i in range(count)})


def pool_of(room: Studio) -> ModelPool:
    return room.engine._pool


def held(room: Studio) -> set[str]:
    return {key[1] for key in pool_of(room).ledger.keys(VRAM) if isinstance(key, tuple) and key[0] == CONTROL}


def test_it_is_on_the_ledger_with_all_its_bytes(tmp_path: Path, folders: dict[str, Path]) -> None:
    with opened(tmp_path, folders) as room:
        before = pool_of(room).ledger.held_bytes(VRAM)
        one = following(folders["canny"])
        room.engine.prefetch(one).result(timeout=60)
        digest = entry(folders["canny"]).digest
        assert held(room) == {digest}
        assert pool_of(room).ledger.held_bytes(VRAM) - before == entry(folders["canny"]).parameters * 4
        model = pool_of(room).get(CONTROL, digest)
        assert sum(p.nbytes for p in model.parameters()) == entry(folders["canny"]).parameters * 4
        room.engine.release(one)


def test_two_names_of_one_file_are_one_model(tmp_path: Path, folders: dict[str, Path]) -> None:
    with opened(tmp_path, {"canny": folders["canny"], "edges": folders["canny"]}) as room:
        room.paint(following(folders["canny"], folders["canny"]), maps(2))
        assert len(held(room)) == 1


def test_it_leaves_when_another_needs_its_room_and_no_recipe_wants_it(tmp_path: Path, folders: dict[str, Path]) -> None:
    canny, depth = (entry(folder).digest for folder in folders.values())
    with opened(tmp_path, folders, budget_bytes=entry(folders["canny"]).parameters * 4 + 2**20) as room:
        first, second = following(folders["canny"]), following(folders["depth"])
        room.engine.prefetch(first).result(timeout=60)
        picture = room.paint(first, maps())
        room.engine.prefetch(second).result(timeout=60)
        assert held(room) == {canny}
        with pytest.raises(DoesNotFit):
            room.paint(second, maps())
        room.engine.release(first)
        room.paint(second, maps())
        assert held(room) == {depth}
        room.engine.release(second)
        room.engine.prefetch(first).result(timeout=60)
        assert room.paint(first, maps()) == picture


def test_one_that_is_not_configured(tmp_path: Path, folders: dict[str, Path]) -> None:
    with opened(tmp_path, {"canny": folders["canny"]}) as room:
        unknown = following(folders["depth"])
        with pytest.raises(Unavailable, match="ControlNet of this picture was changed"):
            room.engine.prefetch(unknown).result(timeout=60)
        room.engine.release(unknown)
        with pytest.raises(Unavailable):
            room.paint(unknown, maps())
        assert room.paint(recipe(steps=1)) == room.paint(recipe(steps=1))


@pytest.mark.parametrize("changes", [{"layers_per_block": 1}, {"down_block_types": ["NoBlock"] * 3}])
def test_one_that_cannot_be_loaded_harms_nobody(
    tmp_path: Path, folders: dict[str, Path], changes: dict[str, object]
) -> None:
    change_json(folders["canny"] / "config.json", **changes)
    with opened(tmp_path, folders) as room:
        plain = room.paint(recipe(steps=1))
        broken = following(folders["canny"])
        with pytest.raises(EngineFault, match="engine failed"):
            room.engine.prefetch(broken).result(timeout=60)
        room.engine.release(broken)
        assert held(room) == set()
        assert room.paint(recipe(steps=1)) == plain
        room.paint(following(folders["depth"]), maps())
