"""Files that are no LoRA, of every kind: each is refused by the catalogue, and nothing of it reaches the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.config import DEMO_MODEL, Loras
from sdxl_gateway.core.errors import AdapterRefused, ModelNotFound, Refusal
from tests.kit.bad_loras import SHAPES, BadLora, catalogue
from tests.kit.lora_files import write
from tests.kit.peft_files import names

BAD = catalogue()
CHECKPOINT = CheckpointEntry("demo", DEMO_MODEL, "d" * 64, 0, SHAPES, 4096, 4096)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The LoRA folder, with a file beside it that a link may lead to."""
    write(tmp_path / "log", b"secret")
    folder = tmp_path / "loras"
    (folder / "bad").mkdir(parents=True)
    return folder


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
async def test_it_is_refused_before_it_is_copied(root: Path, tmp_path: Path, bad: BadLora) -> None:
    bad.lay(root / "bad")
    catalog, name = LoraCatalog(Loras(directory=root), tmp_path / "data", checkpoints=[CHECKPOINT]), f"bad/{bad.name}"

    catalog.scan()

    assert names(catalog) == ([name] if bad.listed else [])
    broken = bad.status == 400 and not bad.listed
    assert [(problem.name, problem.code) for problem in catalog.problems] == ([(name, bad.code)] if broken else [])
    assert all(problem.message for problem in catalog.problems)
    if bad.family == "numbers":
        assert (await catalog.check_in(name, CHECKPOINT)).digest
        return
    with pytest.raises(Refusal) as refused:
        await catalog.check_in(name, CHECKPOINT)
    assert type(refused.value) is (ModelNotFound if bad.status == 404 else AdapterRefused)
    assert refused.value.code == bad.code
    assert str(tmp_path) not in refused.value.message
    assert len(refused.value.message) < 1000
    assert not (tmp_path / "data" / "adapters").exists()


def test_there_are_many_and_no_two_alike() -> None:
    assert len({bad.name for bad in BAD}) == len(BAD) > 100
