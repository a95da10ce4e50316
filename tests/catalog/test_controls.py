"""What the catalogue makes of ControlNets, and of what is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel, ControlNetUnionModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from sdxl_gateway.catalog.controls import open_control
from sdxl_gateway.catalog.model_files import module_shapes
from sdxl_gateway.config import DEMO_MODEL, Control
from sdxl_gateway.core.errors import CheckpointProblem
from tests.kit.control_folders import control_folder, union_folder
from tests.kit.model_folders import change_json
from tests.kit.sdxl_controls import hollow_file, sdxl_unet, shapes_of
from tests.kit.sdxl_shapes import sdxl_shapes

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return control_folder(tmp_path / "canny")


def change(folder: Path, what: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    what(tensors)
    save_file(tensors, folder / WEIGHTS)


def test_a_folder(folder: Path) -> None:
    entry = open_control("canny", Control(path=str(folder), preprocessor="canny"))
    assert (entry.preprocessor, entry.union, entry.modes, entry.mode) == ("canny", False, (), None)
    assert entry.parameters == sum(value.numel() for value in load_file(folder / WEIGHTS).values())
    assert entry.fits(module_shapes(DEMO_MODEL))
    assert not entry.fits({f"{name}": shape for name, shape in sdxl_shapes().items()})


def test_its_digest_follows_its_weights_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    first = open_control("canny", Control(path=str(folder)))
    (folder / "README.md").write_text("new")
    assert open_control("other", Control(path=str(folder))).digest == first.digest
    assert open_control("canny", Control(path=str(control_folder(tmp_path / "same")))).digest == first.digest
    change(folder, lambda tensors: tensors["controlnet_mid_block.bias"].add_(1))
    assert open_control("canny", Control(path=str(folder))).digest != first.digest


def test_a_single_file_with_its_config_beside_it(folder: Path, tmp_path: Path) -> None:
    file = (folder / WEIGHTS).rename(tmp_path / "edges.safetensors")
    (folder / "config.json").rename(tmp_path / "edges.json")
    assert open_control("canny", Control(path=str(file))).fits(module_shapes(DEMO_MODEL))


def test_a_single_file_without_a_config_is_sdxls_own(folder: Path, tmp_path: Path) -> None:
    with torch.device("meta"):
        plain = ControlNetModel.from_unet(sdxl_unet(), load_weights_from_unet=False)
        union = ControlNetUnionModel.from_unet(sdxl_unet(), load_weights_from_unet=False)
    for model, modes in ((plain, 0), (union, 6)):
        entry = open_control("one", Control(path=str(hollow_file(tmp_path / "one.safetensors", shapes_of(model)))))
        assert len(entry.modes) == modes
        assert entry.fits(sdxl_shapes())
        assert not entry.fits(module_shapes(DEMO_MODEL))
    with pytest.raises(CheckpointProblem, match="block_out_channels"):
        open_control("small", Control(path=str(folder / WEIGHTS)))


def test_an_inpainting_checkpoint_has_the_same_controls(folder: Path) -> None:
    shapes = module_shapes(DEMO_MODEL) | {"unet.conv_in": (32, 9, 3, 3)}
    assert open_control("canny", Control(path=str(folder))).fits(shapes)


@pytest.mark.parametrize(
    ("name", "mode", "number"), [("depth", None, 1), ("Union", None, None), ("any", "lineart", 3), ("any", "4", 4)]
)
def test_a_union_is_told_from_its_weights(tmp_path: Path, name: str, mode: str | None, number: int | None) -> None:
    entry = open_control(name, Control(path=str(union_folder(tmp_path / "union")), mode=mode))
    assert entry.union
    assert entry.mode == number
    assert [names[0] for names in entry.modes] == ["openpose", "depth", "softedge", "canny", "normal", "segment"]
    assert (entry.mode_called(" HED "), entry.mode_called("6"), entry.mode_called("tile")) == (2, None, None)


def _first_layout(tensors: dict[str, Tensor]) -> None:
    tensors["control_model.input_hint_block.0.weight"] = tensors.pop("controlnet_mid_block.weight")


def _lora(tensors: dict[str, Tensor]) -> None:
    tensors.clear()
    tensors["unet.mid_block.attentions.0.proj_in.lora_A.weight"] = torch.ones(2, 2)


def _control_lora(tensors: dict[str, Tensor]) -> None:
    tensors["lora_controlnet"] = tensors.pop("controlnet_mid_block.weight")


def _family(tensors: dict[str, Tensor]) -> None:
    for name in [name for name in tensors if name.startswith("add_embedding")]:
        del tensors[name]


@pytest.mark.parametrize(
    ("what", "told"),
    [(_first_layout, "first authors"), (_lora, "no ControlNet"), (_control_lora, "Control-LoRA"), (_family, "family")],
)
def test_what_is_no_controlnet_of_the_family(
    folder: Path, what: Callable[[dict[str, Tensor]], None], told: str
) -> None:
    change(folder, what)
    with pytest.raises(CheckpointProblem, match=rf"^controls\.canny: .*{told}"):
        open_control("canny", Control(path=str(folder)))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"block_out_channels": [32, 64, 128]}, "block_out_channels"),
        ({"cross_attention_dim": 2048}, "cross_attention_dim"),
        ({"projection_class_embeddings_input_dim": 2816}, "projection_class"),
        ({"global_pool_conditions": True}, "pool"),
        ({"conditioning_channels": 4}, "RGB"),
    ],
)
def test_a_config_that_is_of_something_else(folder: Path, changes: dict[str, object], told: str) -> None:
    change_json(folder / "config.json", **changes)
    with pytest.raises(CheckpointProblem, match=told):
        open_control("canny", Control(path=str(folder)))


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000, json.dumps("text")])
def test_a_config_that_is_none(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointProblem, match=r"config\.json"):
        open_control("canny", Control(path=str(folder)))


def test_files_that_are_cut_or_not_there(folder: Path, tmp_path: Path) -> None:
    for path in (str(tmp_path), str(tmp_path / "none"), "no/where", "demo"):
        with pytest.raises(CheckpointProblem, match=r"^controls\.canny: "):
            open_control("canny", Control(path=path))
    with (folder / WEIGHTS).open("r+b") as file:
        file.truncate(10_000)
    with pytest.raises(CheckpointProblem, match="cut short"):
        open_control("canny", Control(path=str(folder)))


@pytest.mark.parametrize("union", [False, True])
def test_a_mode_it_does_not_have(tmp_path: Path, folder: Path, union: bool) -> None:
    path = union_folder(tmp_path / "union") if union else folder
    with pytest.raises(CheckpointProblem, match="'tile' is none of its modes"):
        open_control("any", Control(path=str(path), mode="tile"))
