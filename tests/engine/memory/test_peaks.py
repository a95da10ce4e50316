"""The plan's estimates for painting, compared to traces with the published model's shapes, without values."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor

from sdxl_gateway.engine.memory.offload import PART_BYTES, _parts
from sdxl_gateway.engine.models.placement import set_tiles
from sdxl_gateway.engine.models.text_layers import TextLayers
from sdxl_gateway.scheduling.memory_plan import STAGING_BYTES, TILE_SIDE, Wanted, decode_bytes, step_bytes
from tests.kit.peaks import peak_bytes
from tools.full_size_model import UNET, VAE

MIB = 2**20


def meta(*shape: int, dtype: torch.dtype = torch.float16) -> Tensor:
    return torch.empty(*shape, device="meta", dtype=dtype)


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    return AutoencoderKL.from_config(VAE).to("meta").eval()


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    with torch.device("meta"):
        return UNet2DConditionModel.from_config(UNET).half().eval()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(("height", "width"), [(1024, 1024), (1216, 832), (1216, 1280), (2048, 2048)])
def test_decodes(vae: AutoencoderKL, height: int, width: int, dtype: torch.dtype) -> None:
    vae.to(dtype)
    latents = meta(1, 4, height // 8, width // 8, dtype=dtype)
    found = peak_bytes(lambda: vae.decode(latents, return_dict=False))
    assert 0.98 < found / decode_bytes(height * width, dtype.itemsize) <= 1
    pixels = meta(1, 3, height, width, dtype=dtype)
    assert peak_bytes(lambda: vae.encode(pixels)) <= found


@pytest.mark.parametrize(
    ("height", "width"), [(1024, 1024), (2048, 2048), pytest.param(4096, 4096, marks=pytest.mark.full)]
)
def test_decodes_in_tiles(vae: AutoencoderKL, height: int, width: int) -> None:
    """The peak of a tile plus the picture, once in rows of tiles and once whole."""
    vae.to(torch.bfloat16)
    set_tiles(vae)
    vae.enable_tiling()
    latents = meta(1, 4, height // 8, width // 8, dtype=torch.bfloat16)
    found = peak_bytes(lambda: vae.decode(latents, return_dict=False))
    vae.disable_tiling()
    assert found <= decode_bytes(TILE_SIDE**2, 2) + 4 * 3 * 2 * height * width


@pytest.mark.parametrize(("rows", "side"), [(2, 1024), (8, 1024), (2, 1536)])
def test_steps(unet: UNet2DConditionModel, rows: int, side: int) -> None:
    width = TextLayers.of(unet).width
    texts = {"text_embeds": meta(rows, 1280), "time_ids": meta(rows, 6)}
    inputs = meta(rows, 4, side // 8, side // 8), meta(rows)
    found = peak_bytes(
        lambda: unet(*inputs, encoder_hidden_states=meta(rows, 77, width), added_cond_kwargs=texts, return_dict=False)
    )
    assert 0.95 < found / step_bytes(Wanted(pixels=side * side), rows // 2) <= 1


def test_parts_that_are_streamed_fit_the_buffers(unet: UNet2DConditionModel, vae: AutoencoderKL) -> None:
    vae.to(torch.float32)
    for model in (unet, vae):
        parts = [sum(tensor.nbytes for tensor in part.parameters()) for part in _parts(model)]
        assert max(parts) <= PART_BYTES <= STAGING_BYTES // 2
        assert sum(parts) == sum(tensor.nbytes for tensor in model.parameters())
