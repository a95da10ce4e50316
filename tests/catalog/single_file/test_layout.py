"""Single files of SDXL's full size, made of holes: what is read of them, and which are not served."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sdxl_gateway.catalog.checkpoints import CheckpointEntry, open_checkpoint
from sdxl_gateway.catalog.single_file.families import CLIP_G_PREFIX, UNET_PREFIX, VAE_PREFIX
from sdxl_gateway.catalog.single_file.layout import check_vae, sdxl_tensors
from sdxl_gateway.config import DEMO_MODEL, Checkpoint
from sdxl_gateway.core.errors import CheckpointProblem
from tests.kit import single_file_headers as made
from tests.kit.sdxl_shapes import sdxl_shapes
from tests.kit.single_file_headers import Shape, write_holes

Shapes = dict[str, Shape]
PUBLISHED_TENSORS = 2515
"""In the published base file, position ids and the temperature among them."""
CONV_IN = f"{UNET_PREFIX}input_blocks.0.0.weight"
ATTENTION = f"{VAE_PREFIX}decoder.mid.attn_1.q.weight"


def opened(path: Path, vae: str | None = None) -> CheckpointEntry:
    return open_checkpoint("mine", Checkpoint(path=str(path), vae=vae), DEMO_MODEL)


def problem(path: Path) -> str:
    with pytest.raises(CheckpointProblem) as raised:
        opened(path)
    return str(raised.value)


def test_the_published_layout_with_nothing_configured(tmp_path: Path) -> None:
    assert len(sdxl_tensors()) == PUBLISHED_TENSORS - 2
    entry = opened(write_holes(tmp_path / "sdxl.safetensors", sdxl_tensors()))
    assert dict(entry.shapes) == sdxl_shapes()
    assert (entry.native_area, entry.native_pixels) == (1024 * 1024, int(1024 * 1024 * 1.55))
    assert entry.path == tmp_path / "sdxl.safetensors"
    assert entry.created == int(entry.path.stat().st_mtime)


def _bigger_input(shapes: Shapes) -> None:
    shapes[CONV_IN] = (320, 9, 3, 3)


def _attention_as_matrix(shapes: Shapes) -> None:
    shapes[ATTENTION] = (512, 512)


def _more_beside(shapes: Shapes) -> None:
    shapes |= {
        "v_pred": (0,),
        "denoiser.sigmas": (1000,),
        f"{CLIP_G_PREFIX}logit_scale": (),
        "conditioner.embedders.0.transformer.text_model.embeddings.position_ids": (1, 77),
        "model_ema.decay": (),
    }


@pytest.mark.parametrize("change", [_bigger_input, _attention_as_matrix, _more_beside])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16", "F8_E4M3"])
def test_forms_in_the_wild(tmp_path: Path, change: Callable[[Shapes], None], dtype: str) -> None:
    shapes = dict(sdxl_tensors())
    change(shapes)
    entry = opened(write_holes(tmp_path / "sdxl.safetensors", shapes, dtype=dtype))
    assert entry.shapes["unet.conv_in"] == shapes[CONV_IN]


FOREIGN = [
    (made.V1, "a Stable Diffusion 1.x checkpoint"),
    (made.V2, "a Stable Diffusion 2.x checkpoint"),
    (made.SD3, "a Stable Diffusion 3 model"),
    (made.FLUX, "a Flux model"),
    (made.LORA, "a LoRA"),
    (made.PEFT_LORA, "a LoRA"),
    (made.VAE, "a VAE alone"),
    (made.CONTROLNET, "a ControlNet"),
    (made.EMBEDDING, "a textual inversion"),
    (made.UNET, "a UNet alone"),
    (made.IP_ADAPTER, "an IP-Adapter"),
    (made.UPSCALER, "not a model known here"),
    (dict(sdxl_tensors()) | {"edm_mean": (4,)}, "Playground 2.5"),
    (dict(sdxl_tensors()) | {"edm_vpred.sigma_max": ()}, "CosXL"),
]


@pytest.mark.parametrize(("shapes", "told"), FOREIGN)
def test_another_family_is_refused_by_its_name(tmp_path: Path, shapes: Shapes, told: str) -> None:
    path = write_holes(tmp_path / "other.safetensors", shapes)
    assert problem(path).startswith(f"'other.safetensors' is not an SDXL checkpoint: this is {told}")


def _wrong_shape(shapes: Shapes) -> None:
    shapes[f"{UNET_PREFIX}middle_block.1.proj_in.weight"] = (1280, 640)


def _cut_encoder(shapes: Shapes) -> None:
    shapes.pop(f"{CLIP_G_PREFIX}transformer.resblocks.31.attn.in_proj_weight")


def _half_a_vae(shapes: Shapes) -> None:
    shapes.pop(f"{VAE_PREFIX}decoder.conv_out.weight")


def _another_block(shapes: Shapes) -> None:
    shapes[f"{UNET_PREFIX}input_blocks.9.0.in_layers.0.weight"] = (1280,)


def _edit_model(shapes: Shapes) -> None:
    shapes[CONV_IN] = (320, 8, 3, 3)


def _flat_input(shapes: Shapes) -> None:
    shapes[CONV_IN] = (320, 36)


def _other_width(shapes: Shapes) -> None:
    shapes[CONV_IN] = (384, 4, 3, 3)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_wrong_shape, "'model.diffusion_model.middle_block.1.proj_in.weight' has the shape (1280, 640)"),
        (_cut_encoder, "it lacks 'conditioner.embedders.1.model.transformer.resblocks.31.attn.in_proj_weight'"),
        (_half_a_vae, "it lacks 'first_stage_model.decoder.conv_out.weight'"),
        (_another_block, "it has 'model.diffusion_model.input_blocks.9.0.in_layers.0.weight', which SDXL lacks"),
        (_edit_model, "its UNet takes 8 channels"),
        (_flat_input, "its UNet takes 0 channels"),
        (_other_width, "has the shape (384, 4, 3, 3)"),
    ],
)
def test_a_file_that_is_not_quite_sdxl(tmp_path: Path, change: Callable[[Shapes], None], told: str) -> None:
    shapes = dict(sdxl_tensors())
    change(shapes)
    assert told in problem(write_holes(tmp_path / "sdxl.safetensors", shapes))


@pytest.mark.parametrize("name", [f"{UNET_PREFIX}out.2.weight", f"{CLIP_G_PREFIX}text_projection"])
def test_quantised_weights_are_not_read(tmp_path: Path, name: str) -> None:
    path = write_holes(tmp_path / "int8.safetensors", sdxl_tensors(), dtypes={name: "I8"})
    assert f"('{name}' is I8)" in problem(path)
    scaled = dict(sdxl_tensors()) | {f"{UNET_PREFIX}out.2.scale_weight": ()}
    assert "quantised" in problem(write_holes(tmp_path / "scaled.safetensors", scaled, dtype="F8_E4M3"))


def test_without_a_vae_it_says_what_to_set(tmp_path: Path) -> None:
    shapes = {name: shape for name, shape in sdxl_tensors().items() if not name.startswith(VAE_PREFIX)}
    path = write_holes(tmp_path / "bare.safetensors", shapes)
    assert "holds no VAE; set its `vae`" in problem(path)
    vae = write_holes(tmp_path / "vae.safetensors", made.VAE)
    assert opened(path, vae=str(vae)).shapes["unet.conv_in"] == (320, 4, 3, 3)


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        (made.LORA, "'vae.safetensors' is not a VAE: this is a LoRA."),
        (made.FLUX_VAE, "not a VAE of SDXL's kind"),
        ({"encoder.conv_in.weight": (128, 3, 3, 3)}, "not a VAE of SDXL's kind"),
    ],
)
def test_a_vae_that_is_none(tmp_path: Path, shapes: Shapes, told: str) -> None:
    vae = write_holes(tmp_path / "vae.safetensors", shapes)
    with pytest.raises(CheckpointProblem) as raised:
        check_vae(vae)
    assert told in str(raised.value)
    with pytest.raises(CheckpointProblem):
        open_checkpoint("mine", Checkpoint(path="demo", vae=str(vae)), DEMO_MODEL)


def test_a_whole_checkpoint_may_lend_its_vae(tmp_path: Path) -> None:
    vae = write_holes(tmp_path / "other.safetensors", sdxl_tensors())
    assert open_checkpoint("mine", Checkpoint(path="demo", vae=str(vae)), DEMO_MODEL).path == DEMO_MODEL


def test_its_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    one = opened(write_holes(tmp_path / "one.safetensors", sdxl_tensors()))
    same = opened(write_holes(tmp_path / "same.safetensors", sdxl_tensors()))
    other = opened(write_holes(tmp_path / "other.safetensors", sdxl_tensors(), metadata={"a": "b"}))
    assert one.digest == same.digest != other.digest
