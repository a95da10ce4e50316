"""A checkpoint as one file: the weights and pictures are those of diffusers' own `from_single_file`."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from sdxl_gateway.catalog.checkpoints import checkpoint_shapes, open_checkpoint
from sdxl_gateway.catalog.model_files import module_shapes
from sdxl_gateway.catalog.single_file.families import CLIP_G_PREFIX, CLIP_L_PREFIX, UNET_PREFIX, VAE_PREFIX
from sdxl_gateway.catalog.single_file.layout import sdxl_tensors
from sdxl_gateway.config import DEMO_MODEL, SDXL_CONFIGS, Checkpoint
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.core.picture import Inputs
from sdxl_gateway.core.recipe import Task
from sdxl_gateway.engine.models.checkpoint import Source, load_checkpoint
from sdxl_gateway.engine.models.lazy_tensors import LazyTensors
from sdxl_gateway.engine.models.placement import Placement
from sdxl_gateway.engine.models.pretrained import check_tensors, empty_model
from sdxl_gateway.engine.models.single_file import to_diffusers
from tests.kit.engine import Studio, contrast, difference, mask, photo, recipe, studio_of
from tests.kit.engine_loras import admitted, blend, write_lora
from tests.kit.model_folders import change_json, inpainting_demo
from tests.kit.reference import Reference
from tests.kit.single_files import reference, section, write_single_file, write_vae

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),
]

FORMATS = [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_single_file(tmp_path_factory.mktemp("files") / "one.safetensors")


@pytest.fixture(scope="module")
def single(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    made = studio_of(section(file), tmp_path_factory.mktemp("data"))
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def theirs(file: Path) -> Reference:
    return reference(file)


def same_weights(ours: nn.Module, theirs: nn.Module) -> bool:
    mine, other = ours.state_dict(), theirs.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[name], other[name]) for name in mine)


def check_weights(made: Studio, theirs: Reference) -> None:
    checkpoint = made.loaded().checkpoint
    for name, module in checkpoint.blendable().items():
        assert same_weights(module, getattr(theirs.base, name)), name
    assert same_weights(checkpoint.vae, theirs.base.vae)


@pytest.mark.parametrize("dtype", FORMATS)
def test_every_weight_is_the_one_diffusers_reads(tmp_path: Path, dtype: torch.dtype) -> None:
    path = write_single_file(tmp_path / "one.safetensors", dtype=dtype)
    made = studio_of(section(path), tmp_path)
    check_weights(made, reference(path))
    made.engine.close()


@pytest.mark.parametrize("options", [{}, {"sampler": "euler_a"}, {"negative_prompt": "green", "guidance_scale": 4.0}])
def test_the_picture_diffusers_paints(single: Studio, theirs: Reference, options: dict[str, Any]) -> None:
    wanted = recipe(steps=4, **options)
    ours = single.paint(wanted)
    assert contrast(ours) > 20
    assert difference(ours, theirs.paint(wanted)) <= 1


def test_the_picture_of_the_folder_it_was_made_from(single: Studio, demo: Studio) -> None:
    wanted = recipe(steps=3)
    assert single.paint(wanted) == demo.paint(wanted)


def test_with_a_blend_on(single: Studio, file: Path, tmp_path: Path) -> None:
    paths = [write_lora(tmp_path / f"{seed}.safetensors", DEMO_MODEL, seed) for seed in (1, 2)]
    digests = [admitted(path, single.data_directory) for path in paths]
    theirs = reference(file)
    for name, path in zip("ab", paths, strict=True):
        theirs.base.load_lora_weights(path, adapter_name=name)
    theirs.base.set_adapters(["a", "b"], adapter_weights=[0.8, 0.5])
    wanted = recipe(steps=4, blend=blend((digests[0], 0.8), (digests[1], 0.5)))
    ours = single.paint(wanted)
    assert difference(ours, theirs.paint(wanted)) <= 1
    assert difference(ours, single.paint(recipe(steps=4))) > 5


def test_loras_are_planned_against_the_shapes_of_the_folder(file: Path) -> None:
    assert checkpoint_shapes(file) == module_shapes(DEMO_MODEL)


def test_an_engine_of_half_precision_computes_in_it(file: Path, tmp_path: Path) -> None:
    made = studio_of(section(file), tmp_path, dtype="bfloat16")
    checkpoint = made.loaded().checkpoint
    assert {weight.dtype for weight in checkpoint.unet.parameters()} == {torch.bfloat16}
    assert checkpoint.text_encoders[1].dtype is torch.bfloat16
    assert contrast(made.paint(recipe(steps=2))) > 20
    made.engine.close()


def test_the_file_is_counted_without_what_is_not_loaded(file: Path) -> None:
    folder, one = Source("a", DEMO_MODEL), Source("b", file, config=DEMO_MODEL)
    assert one.parameters() == folder.parameters()


def test_an_inpainting_file(tmp_path: Path) -> None:
    folder = inpainting_demo(tmp_path / "nine")
    path = write_single_file(tmp_path / "nine.safetensors", folder)
    made = studio_of(section(path), tmp_path)
    assert made.loaded().checkpoint.inpaints
    wanted = recipe(task=Task.INPAINT, strength=0.9, steps=4)
    inputs = Inputs({"image": photo(), "mask": mask()})
    assert difference(made.paint(wanted, inputs), Reference(folder).paint(wanted, inputs)) <= 1
    made.engine.close()


@pytest.mark.parametrize(("original", "prefix"), [(True, ""), (True, "first_stage_model."), (False, "")])
def test_a_vae_of_its_own_file(tmp_path: Path, original: bool, prefix: str) -> None:
    path = write_single_file(tmp_path / "no_vae.safetensors", vae=False)
    vae = write_vae(tmp_path / "vae.safetensors", original=original, prefix=prefix)
    made = studio_of(section(path, vae=str(vae)), tmp_path)
    assert same_weights(made.loaded().checkpoint.vae, Reference(DEMO_MODEL).base.vae)
    made.engine.close()


def test_a_vae_file_for_a_folder(tmp_path: Path) -> None:
    vae = write_vae(tmp_path / "vae.safetensors")
    made = studio_of(Checkpoint(path="demo", vae=str(vae)), tmp_path)
    assert same_weights(made.loaded().checkpoint.vae, Reference(DEMO_MODEL).base.vae)
    made.engine.close()


V_PRED = {"v_pred": torch.zeros(0)}
ZTSNR = V_PRED | {"ztsnr": torch.zeros(0)}
ZERO_SNR_CONFIG = {
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}


@pytest.fixture
def epsilon_configs(tmp_path: Path) -> Path:
    """Configs with SDXL's own scheduler, so that any other prediction type must come from the file."""
    folder = tmp_path / "configs"
    shutil.copytree(DEMO_MODEL, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    shutil.copytree(SDXL_CONFIGS / "scheduler", folder / "scheduler", dirs_exist_ok=True)
    return folder


@pytest.mark.parametrize(
    ("more", "metadata", "scheduler"),
    [
        (ZTSNR, {}, ZERO_SNR_CONFIG),
        (V_PRED, {}, {"prediction_type": "v_prediction"}),
        ({}, {"modelspec.prediction_type": "v"}, {"prediction_type": "v_prediction"}),
        ({}, {"modelspec.prediction_type": "epsilon"}, {}),
        ({}, {}, {}),
    ],
)
def test_the_file_tells_what_its_sampler_needs(
    tmp_path: Path,
    epsilon_configs: Path,
    more: dict[str, Any],
    metadata: dict[str, str],
    scheduler: dict[str, Any],
) -> None:
    path = write_single_file(tmp_path / "v.safetensors", more=more, metadata=metadata)
    made = studio_of(Checkpoint(path=str(path), config=str(epsilon_configs)), tmp_path)
    theirs = reference(path, epsilon_configs, **scheduler)
    for sampler in ("euler", "dpmpp_2m", "ddim"):
        wanted = recipe(steps=4, sampler=sampler, guidance_scale=1.0)
        assert difference(made.paint(wanted), theirs.paint(wanted)) <= 1
    made.engine.close()


def test_the_section_tells_what_its_sampler_needs(tmp_path: Path, epsilon_configs: Path) -> None:
    path = write_single_file(tmp_path / "v.safetensors")
    told = Checkpoint(path=str(path), config=str(epsilon_configs), prediction_type="v_prediction", zero_snr=True)
    made = studio_of(told, tmp_path)
    theirs = reference(path, epsilon_configs, **ZERO_SNR_CONFIG)
    for sampler in ("euler", "unipc", "lcm"):
        wanted = recipe(steps=4, sampler=sampler)
        assert difference(made.paint(wanted), theirs.paint(wanted)) <= 1
    made.engine.close()


def test_a_file_cut_short_since_it_was_looked_at(tmp_path: Path) -> None:
    path = write_single_file(tmp_path / "one.safetensors")
    open_checkpoint("one", section(path), DEMO_MODEL)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointProblem, match=r"one\.safetensors"):
        studio_of(section(path), tmp_path)


KINDS = {
    "unet": UNet2DConditionModel,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
    "vae": AutoencoderKL,
}
PREFIXES = {
    "unet": UNET_PREFIX,
    "text_encoder": CLIP_L_PREFIX,
    "text_encoder_2": CLIP_G_PREFIX,
    "vae": VAE_PREFIX,
}


@pytest.mark.parametrize("name", KINDS)
def test_every_tensor_of_the_full_size_has_its_place(name: str) -> None:
    shapes = {key: shape for key, shape in sdxl_tensors().items() if key.startswith(PREFIXES[name])}
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    config = json.loads((SDXL_CONFIGS / name / "config.json").read_text("utf-8"))
    model = empty_model(KINDS[name], config)
    check_tensors(model, to_diffusers(name, tensors, config), "it")
    assert sum(t.numel() for t in model.parameters()) == sum(map(math.prod, shapes.values()))


def test_a_config_of_other_sizes(file: Path) -> None:
    with pytest.raises(CheckpointProblem, match=r"by its config it is|which its config asks for"):
        Source("one", file).component("unet").load(UNet2DConditionModel, torch.float32)
    with pytest.raises(CheckpointProblem, match=r"The vae in 'one\.safetensors'"):
        Source("one", file).component("vae").load(AutoencoderKL, torch.float32)


LIES: list[tuple[str, tuple[int, ...], str]] = [
    (f"{UNET_PREFIX}out.2.weight", (4, 16, 3, 3), "has 'conv_out.weight' of shape"),
    (f"{UNET_PREFIX}middle_block.1.new.weight", (4,), "which its config knows nothing of"),
    (f"{CLIP_G_PREFIX}text_projection", (96, 32), "The text_encoder_2"),
    (f"{CLIP_G_PREFIX}text_projection", (), "holds no whole text_encoder_2"),
    (f"{CLIP_L_PREFIX}text_model.final_layer_norm.weight", (1,), "final_layer_norm.weight' of shape (1,)"),
    (f"{VAE_PREFIX}decoder.mid.attn_1.q.weight", (8,), "The vae"),
    (f"{VAE_PREFIX}decoder.conv_out.bias", (1,), "'decoder.conv_out.bias' of shape (1,)"),
]


@pytest.mark.parametrize(("name", "shape", "told"), LIES)
def test_shapes_that_are_not_the_configs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, shape: tuple[int, ...], told: str
) -> None:
    path = write_single_file(tmp_path / "lie.safetensors", more={name: torch.zeros(shape)})
    source = Source("lie", path, config=DEMO_MODEL)
    part = next(part for part, prefix in PREFIXES.items() if name.startswith(prefix))
    monkeypatch.setattr(LazyTensors, "__getitem__", None)
    with pytest.raises(CheckpointProblem) as raised:
        source.component(part).load(KINDS[part], torch.float32)
    assert told in str(raised.value)


def test_a_config_that_describes_nothing(file: Path, epsilon_configs: Path) -> None:
    change_json(epsilon_configs / "unet" / "config.json", down_block_types=["Nonsense"])
    with pytest.raises(CheckpointProblem, match="No UNet2DConditionModel can be made of its config"):
        Source("one", file, config=epsilon_configs).component("unet").load(UNet2DConditionModel, torch.float32)


def test_a_tokenizer_of_more_tokens_than_the_encoder_knows(file: Path, epsilon_configs: Path) -> None:
    shutil.rmtree(epsilon_configs / "tokenizer")
    source = Source("one", file, config=epsilon_configs)
    with pytest.raises(CheckpointProblem, match="49408 tokens, more than its text encoder knows"):
        load_checkpoint(source, Placement.everything_on(torch.device("cpu")), torch.float32)
