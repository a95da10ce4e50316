"""What lies in the checkpoint folder is a model name, or a problem with its reason; names come and go with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sdxl_gateway.catalog.checkpoint_folder.catalog import CheckpointCatalog
from sdxl_gateway.catalog.checkpoint_folder.scan import open_named
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.config import DEMO_MODEL, CheckpointFolder, Loras
from sdxl_gateway.core.errors import ModelNotFound
from tests.kit.admission import demo
from tests.kit.lora_files import file_bytes, lora_tensors, write
from tests.kit.model_folders import change_json, copy_of_demo
from tests.kit.single_files import write_single_file
from tests.kit.watching import until, watching
from tools.demo_refiner import write_demo_refiner


def opened(root: Path) -> CheckpointCatalog:
    catalog = CheckpointCatalog({"demo": demo()}, CheckpointFolder(directory=root))
    catalog.scan()
    return catalog


def problems(catalog: CheckpointCatalog) -> dict[str, tuple[str, str]]:
    return {problem.file: (problem.code, problem.message) for problem in catalog.problems}


def test_folders_are_named_by_their_place_behind_the_configured(tmp_path: Path) -> None:
    copy_of_demo(tmp_path / "zebra")
    copy_of_demo(tmp_path / "people" / "Anna v2.1")
    (tmp_path / "notes.txt").write_text("no checkpoint")
    catalog = opened(tmp_path)
    assert list(catalog) == ["demo", "people/Anna v2.1", "zebra"]
    assert catalog["zebra"].digest == catalog["demo"].digest
    assert catalog["zebra"].shapes == catalog["demo"].shapes
    assert (len(catalog), catalog.problems) == (3, ())


def test_a_single_file_is_named_by_its_stem_and_told_by_its_header(tmp_path: Path) -> None:
    write_single_file(tmp_path / "Pony v6.safetensors")
    (tmp_path / "Pony v6.toml").write_text('config = "demo"\nsteps = 9\ndescription = "Ponies."')
    write_single_file(tmp_path / "bare.safetensors", vae=False)
    (tmp_path / "bare.toml").write_text('config = "demo"')
    write(tmp_path / "lora.safetensors", file_bytes(lora_tensors({"unet.conv_in": demo().shapes["unet.conv_in"]})))
    catalog = opened(tmp_path)
    assert list(catalog) == ["demo", "Pony v6"]
    assert (catalog["Pony v6"].section.steps, catalog["Pony v6"].shapes) == (9, catalog["demo"].shapes)
    told = {file: message for file, (_, message) in problems(catalog).items()}
    assert told.keys() == {"bare.safetensors", "lora.safetensors"}
    assert "holds no VAE" in told["bare.safetensors"]
    assert "LoRA" in told["lora.safetensors"]


def test_a_refiner_is_told_by_its_index_and_needs_no_first_tokenizer(tmp_path: Path) -> None:
    write_demo_refiner(tmp_path / "fine")
    copy_of_demo(tmp_path / "base")
    (tmp_path / "base.toml").write_text('refiner = "fine"')
    catalog = opened(tmp_path)
    assert {name: entry.refines for name, entry in catalog.items()} == {"demo": False, "base": False, "fine": True}
    assert (catalog["base"].section.refiner, catalog.problems) == ("fine", ())
    assert catalog["base"].digest == demo().digest
    shutil.rmtree(tmp_path / "fine" / "tokenizer_2")
    catalog.scan()
    assert "'tokenizer_2/' is missing" in problems(catalog)["fine"][1]


def test_no_folder_at_all(tmp_path: Path) -> None:
    assert list(opened(tmp_path / "not there")) == ["demo"]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "model_index.json").unlink(), "'model_index.json' is missing or not readable"),
        (lambda folder: (folder / "model_index.json").write_text("{"), "'model_index.json' is missing or not readable"),
        (lambda folder: change_json(folder / "model_index.json", _class_name="FluxPipeline"), "is a FluxPipeline"),
        (lambda folder: (folder / "unet" / "more.py").write_text(""), "brings Python code"),
        (lambda folder: shutil.rmtree(folder / "text_encoder"), "No .safetensors weights in 'text_encoder/'"),
        (lambda folder: shutil.rmtree(folder / "tokenizer_2"), "'tokenizer_2/' is missing"),
        (lambda folder: shutil.rmtree(folder / "vae"), "No .safetensors weights in 'vae/'"),
        (lambda folder: cut(folder / "vae" / "diffusion_pytorch_model.safetensors"), "vae/diffusion_pytorch_model"),
        (lambda folder: cut(folder / "unet" / "diffusion_pytorch_model.safetensors"), "unet/diffusion_pytorch_model"),
    ],
)
def test_what_is_not_whole_is_a_problem_with_its_reason(
    tmp_path: Path, spoil: Callable[[Path], object], told: str
) -> None:
    spoil(copy_of_demo(tmp_path / "bad"))
    copy_of_demo(tmp_path / "good")
    catalog = opened(tmp_path)
    assert list(catalog) == ["demo", "good"]
    code, message = problems(catalog)["bad"]
    assert code == "invalid_checkpoint"
    assert told in message
    assert str(tmp_path) not in message


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize("ending", [".ckpt", ".pt", ".pth", ".bin", ".CKPT"])
def test_pickles_are_never_opened_and_say_what_to_do(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"old{ending}").write_bytes(b"cos\nsystem")
    code, message = problems(opened(tmp_path))[f"old{ending}"]
    assert code == "invalid_checkpoint"
    assert "never opened" in message
    assert ".safetensors" in message


@pytest.mark.parametrize("name", ["a+b", "a:0.8", " a", "a" * 201])
def test_names_that_mean_something_else_in_a_model_name(tmp_path: Path, name: str) -> None:
    copy_of_demo(tmp_path / name)
    catalog = opened(tmp_path)
    assert list(catalog) == ["demo"]
    assert "rename" in problems(catalog)[name[:200]][1]


def test_a_file_that_is_no_checkpoint(tmp_path: Path) -> None:
    write(tmp_path / "lora.safetensors", file_bytes(lora_tensors({"unet.conv_in": (4, 4)})))
    write(tmp_path / "junk.safetensors", b"junk")
    catalog = opened(tmp_path)
    assert list(catalog) == ["demo"]
    for code, message in problems(catalog).values():
        assert code == "invalid_checkpoint"
        assert str(tmp_path) not in message


def test_a_name_is_taken_once_and_the_settings_go_first(tmp_path: Path) -> None:
    for place in ("demo", "one", "one.safetensors"):
        copy_of_demo(tmp_path / place)
    catalog = opened(tmp_path)
    assert list(catalog) == ["demo", "one"]
    assert catalog["demo"] is demo()
    assert {file: code for file, (code, _) in problems(catalog).items()} == {
        "demo": "duplicate_name",
        "one.safetensors": "duplicate_name",
    }


def test_links_lead_elsewhere_and_never_in_circles(tmp_path: Path) -> None:
    copy_of_demo(tmp_path / "library" / "far")
    root = tmp_path / "checkpoints"
    (root / "sub").mkdir(parents=True)
    (root / "linked").symlink_to(tmp_path / "library" / "far")
    (root / "sub" / "circle").symlink_to(root)
    (root / "gone").symlink_to(tmp_path / "nothing")
    assert list(opened(root)) == ["demo", "linked"]


def test_what_did_not_change_is_not_read_again(tmp_path: Path) -> None:
    folder = copy_of_demo(tmp_path / "one")
    catalog = opened(tmp_path)
    before = catalog["one"]
    catalog.scan()
    assert catalog["one"] is before
    change_json(folder / "scheduler" / "scheduler_config.json", timestep_spacing="trailing")
    catalog.scan()
    assert catalog["one"].digest != before.digest


def test_an_engine_finds_the_same_one(tmp_path: Path) -> None:
    copy_of_demo(tmp_path / "sub" / "one")
    (tmp_path / "sub" / "one.toml").write_text('vae = "demo"')
    assert open_named(tmp_path, "sub/one") == opened(tmp_path)["sub/one"]
    for name in ("one", "../sub/one", "sub/../sub/one", ""):
        with pytest.raises(ModelNotFound):
            open_named(tmp_path, name)


async def test_a_dropped_folder_is_a_name_until_it_goes_and_its_loras_are_judged_by_it(tmp_path: Path) -> None:
    root, away = tmp_path / "checkpoints", copy_of_demo(tmp_path / "away")
    root.mkdir()
    module = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    write(tmp_path / "loras" / "fits.safetensors", file_bytes(lora_tensors({module: demo().shapes[module]})))
    catalog = CheckpointCatalog({}, CheckpointFolder(directory=root))
    loras = LoraCatalog(Loras(directory=tmp_path / "loras"), tmp_path / "data", checkpoints=catalog.values())
    async with watching(catalog.watch(loras.refresh)):
        away.rename(root / "dropped")
        await until(lambda: list(catalog) == ["dropped"])
        await until(lambda: [entry.name for entry in loras.entries()] == ["fits"])
        (root / "dropped.toml").write_text("steps = 9")
        await until(lambda: "dropped" in catalog and catalog["dropped"].section.steps == 9)
        (root / "dropped").rename(tmp_path / "gone")
        await until(lambda: list(catalog) == [])


async def test_a_copy_in_progress_becomes_a_name_when_it_is_whole(tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    catalog = CheckpointCatalog({}, CheckpointFolder(directory=root))
    loras = LoraCatalog(Loras(directory=tmp_path / "loras"), tmp_path / "data", checkpoints=catalog.values())
    async with watching(catalog.watch(loras.refresh)):
        for part in ("unet", "text_encoder", "text_encoder_2", "vae", "tokenizer", "tokenizer_2"):
            shutil.copytree(DEMO_MODEL / part, root / "slow" / part)
        await until(lambda: bool(catalog.problems))
        shutil.copy(DEMO_MODEL / "model_index.json", root / "slow")
        await until(lambda: any("scheduler/" in problem.message for problem in catalog.problems))
        shutil.copytree(DEMO_MODEL / "scheduler", root / "slow" / "scheduler")
        await until(lambda: list(catalog) == ["slow"])
        assert catalog.problems == ()


def test_another_one_lies_where_the_settings_say(tmp_path: Path) -> None:
    copy_of_demo(tmp_path / "one")
    catalog = opened(tmp_path)
    other = replace(demo(), digest="another")
    catalog.take(other)
    assert (list(catalog), catalog["demo"].digest, catalog.is_configured("demo")) == (["demo", "one"], "another", True)
