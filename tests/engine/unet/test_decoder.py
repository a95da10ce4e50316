"""Pictures of a size with compiled code are decoded by it, all others by the plain VAE."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sdxl_gateway.core.picture import NO_INPUTS, Picture
from sdxl_gateway.engine.unet.compiled import compiled
from sdxl_gateway.engine.unet.decoder import DecodeCodes, Decoder
from sdxl_gateway.engine.unet.target import CompileTarget, traceable
from tests.kit.compilers import Compiler
from tests.kit.engine import Studio, difference, recipe

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def painted(one: Studio, codes: DecodeCodes, *, tiled: bool = False) -> Picture:
    """A picture whose checkpoint decodes by that code."""
    canvas = one.engine.begin(recipe(), 0, NO_INPUTS)
    vae = canvas.checkpoint.vae
    placement = replace(canvas.checkpoint.placement, whole_pixels=0 if tiled else 2**40)
    canvas.checkpoint = replace(canvas.checkpoint, decoder=Decoder(vae, codes), placement=placement)
    while canvas.steps_done < canvas.steps_total:
        one.engine.step([canvas])
    return one.engine.finish(canvas).result()


@torch.inference_mode()
def test_the_size_it_was_compiled_for_is_decoded_by_code(demo: Studio) -> None:
    compiler, vae = Compiler(), demo.loaded().checkpoint.vae
    latents = torch.zeros(1, 4, 8, 8)
    codes: DecodeCodes = {
        (latents.shape, latents.dtype): compiled(CompileTarget.of_decode(traceable(vae), latents), compiler)
    }
    calls = compiler.calls
    picture, plain = painted(demo, codes), demo.paint(recipe())
    assert compiler.calls == calls + 1
    assert difference(picture, plain) <= 1
    painted(demo, codes, tiled=True)
    other = torch.zeros(1, 4, 8, 12)
    assert torch.equal(Decoder(vae, codes)(other, return_dict=False)[0], vae.decode(other, return_dict=False)[0])
    assert (compiler.graphs, compiler.calls) == (1, calls + 1)
