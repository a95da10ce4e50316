"""LoRAs that came with the package: named beside the folder's own, which go before them; never changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.lora_folder.scan import LoraEntry
from sdxl_gateway.config import DEMO_LORAS, Checkpoint, Loras, Settings
from sdxl_gateway.core.errors import AdapterRefused, InvalidRequest, ModelNotFound
from tests.kit.lora_files import file_bytes, lora_tensors, write

MODULES = {"unet.mid_block.q": (32, 16)}
OURS = file_bytes(lora_tensors(MODULES), {"ss_output_name": "sunset"})
THEIRS = file_bytes(lora_tensors(MODULES, rank=2))
CHECKPOINT = CheckpointEntry("demo", Path("demo"), "d" * 64, 0, MODULES, 4096, 4096)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "loras"


@pytest.fixture
def bundled(tmp_path: Path) -> Path:
    """Holds `sunset` and `ink`."""
    folder = tmp_path / "package" / "demo_loras"
    for name in ("sunset", "ink"):
        write(folder / f"{name}.safetensors", OURS)
    return folder


@pytest.fixture
def catalog(root: Path, bundled: Path, tmp_path: Path) -> LoraCatalog:
    catalog = LoraCatalog(Loras(directory=root), tmp_path / "data", bundled)
    catalog.scan()
    return catalog


def names(catalog: LoraCatalog) -> list[str]:
    return [entry.name for entry in catalog.entries()]


def is_bundled(entry: LoraEntry, bundled: Path) -> bool:
    return entry.path.parent == bundled


async def test_they_are_named_where_there_is_no_folder(catalog: LoraCatalog, bundled: Path) -> None:
    assert names(catalog) == ["ink", "sunset"]
    assert is_bundled(catalog.find("SUNSET.safetensors"), bundled)
    assert catalog.problems == ()
    admitted = await catalog.check_in("sunset", CHECKPOINT)
    assert admitted.report.matched_count == 3
    with pytest.raises(ModelNotFound, match="Did you mean 'sunset'"):
        catalog.find("sunsett")


def test_all_are_listed_by_name(root: Path, catalog: LoraCatalog) -> None:
    for name in ("a", "oil", "z"):
        write(root / f"{name}.safetensors", THEIRS)
    catalog.scan()
    assert names(catalog) == ["a", "ink", "oil", "sunset", "z"]


@pytest.mark.parametrize("name", ["sunset", "Sunset", "styles/sunset"])
def test_whatever_the_folder_means_by_the_name_goes_before(
    root: Path, bundled: Path, catalog: LoraCatalog, name: str
) -> None:
    path = write(root / f"{name}.safetensors", THEIRS)
    catalog.scan()
    assert names(catalog) == sorted(["ink", name])
    assert catalog.find("sunset").path == path
    assert catalog.problems == ()
    path.unlink()
    catalog.scan()
    assert is_bundled(catalog.find("sunset"), bundled)


def test_a_copy_under_another_name_takes_nothing_away(root: Path, bundled: Path, catalog: LoraCatalog) -> None:
    for name in ("dusk", "evening"):
        write(root / f"{name}.safetensors", OURS)
    catalog.scan()
    assert names(catalog) == ["dusk", "evening", "ink", "sunset"]
    assert is_bundled(catalog.find("sunset"), bundled)


def test_a_broken_file_of_the_name_is_told_and_not_passed_over(root: Path, catalog: LoraCatalog) -> None:
    write(root / "sunset.safetensors", OURS[:-1])
    catalog.scan()
    assert names(catalog) == ["ink"]
    with pytest.raises(AdapterRefused, match="cut short"):
        catalog.find("sunset")


async def test_one_is_never_removed(root: Path, bundled: Path, catalog: LoraCatalog) -> None:
    with pytest.raises(InvalidRequest, match="'sunset' came with the server") as refused:
        await catalog.remove("sunset")
    assert refused.value.param == "name"
    assert (bundled / "sunset.safetensors").read_bytes() == OURS
    write(root / "sunset.safetensors", THEIRS)
    await catalog.refresh()
    await catalog.remove("sunset")
    assert not (root / "sunset.safetensors").exists()
    assert is_bundled(catalog.find("sunset"), bundled)


async def test_an_upload_goes_before_only_when_told(root: Path, bundled: Path, catalog: LoraCatalog) -> None:
    with pytest.raises(InvalidRequest, match="exists already"):
        await catalog.add("Sunset", THEIRS)
    entry = await catalog.add("sunset", THEIRS, replace=True)
    assert entry.path.parent == root
    assert catalog.find("sunset") is entry
    assert (bundled / "sunset.safetensors").read_bytes() == OURS


def test_the_index_remembers_only_the_folder(root: Path, catalog: LoraCatalog, tmp_path: Path) -> None:
    write(root / "oil.safetensors", THEIRS)
    catalog.scan()
    again = LoraCatalog(Loras(directory=root), tmp_path / "data")
    again.scan()
    assert names(again) == ["oil"]


@pytest.mark.parametrize(
    ("paths", "found"), [(["demo"], DEMO_LORAS), (["org/name", "demo"], DEMO_LORAS), (["org/name"], None), ([], None)]
)
def test_they_belong_to_the_demo_model(paths: list[str], found: Path | None) -> None:
    settings = Settings(checkpoints={str(i): Checkpoint(path=path) for i, path in enumerate(paths)})
    assert settings.demo_loras == found
