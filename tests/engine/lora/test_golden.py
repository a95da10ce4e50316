"""Every dialect, on every kind of layer, at several weights and storage dtypes, compared to its trainer's library."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sdxl_gateway.catalog.lora_format.plan import ModulePart
from tests.engine.lora.kit import (
    WEIGHTS,
    Bench,
    MakeBench,
    Shelf,
    assert_one_rounding,
    blend,
    parameter,
    tiny_components,
)
from tests.engine.lora.oracle import ALPHA, CONV, LINEAR, RANK, Train, Trained, norm

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
FILE_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
LAYERS: dict[str, dict[str, Train]] = {
    "unet.attentions.0.to_k": LINEAR,
    "text_encoder.text_model.encoder.layers.0": LINEAR,
    "text_encoder_2.text_model.encoder.layers.1": LINEAR,
    "unet.attentions.0.proj_in": LINEAR,
    "unet.conv1": CONV,
    "unet.norm1": {"norm": norm},
}
TABLE = [
    pytest.param(module, train, id=f"{module}: {dialect}")
    for module, dialects in LAYERS.items()
    for dialect, train in dialects.items()
    if not ("bias" in dialect and "attentions.0.to_" in module)
    if not (dialect == "full" and module == "unet.attentions.0.to_k")
]


def add(shelf: Shelf, module: str, trained: Trained) -> None:
    """Add a file with this one layer, with keys by which a PEFT magnitude is recognized."""
    keys = {role: f"{module}.{trained.magnitude_key if role == 'dora_scale' else role}" for role in trained.tensors}
    tensors = {keys[role]: tensor.contiguous() for role, tensor in trained.tensors.items()}
    shelf.add_file("one", tensors, [ModulePart(module, trained.algorithm, keys, trained.scale)])


@pytest.mark.parametrize(("module", "train"), TABLE)
def test_weights_are_what_the_trainer_means(shelf: Shelf, make_bench: MakeBench, module: str, train: Train) -> None:
    for dtype in DTYPES:
        bench = make_bench(dtype=dtype)
        weight = bench.weight(f"{module}.weight")
        before = weight.double()
        trained = train(weight)
        add(shelf, module, trained)
        for strength in WEIGHTS:
            bench.switcher.put_on(blend(("one", strength)))
            assert_one_rounding(weight, before + strength * (trained.weight - before))
            assert not torch.equal(weight.double(), before)
            if trained.bias is not None:
                bias = bench.weight(f"{module}.bias")
                assert_one_rounding(bias, bias_before(bench, module) + strength * trained.bias)
        bench.switcher.put_on(blend())
        assert torch.equal(weight.double(), before)


def bias_before(bench: Bench, module: str) -> Tensor:
    name = f"{module}.bias"
    return parameter(tiny_components(bench.weight(name).dtype), name).double()


@pytest.mark.parametrize("module", ["unet.attentions.0.to_q", "unet.conv1", "text_encoder.text_model.encoder.layers.0"])
@pytest.mark.parametrize("kept", FILE_DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
def test_each_type_a_file_may_hold(shelf: Shelf, make_bench: MakeBench, kept: torch.dtype, module: str) -> None:
    for dtype in DTYPES:
        bench = make_bench(dtype=dtype)
        weight = bench.weight(f"{module}.weight")
        before = weight.double()
        rows, columns, *window = weight.shape
        up, down = torch.randn(rows, RANK, *[1] * len(window)).to(kept), torch.randn(RANK, columns, *window).to(kept)
        shelf.add("one", [(module, "lora", {"up": up, "down": down, "alpha": torch.tensor(ALPHA)})])
        change = (up.double().flatten(1) @ down.double().flatten(1)).view(weight.shape) * (ALPHA / RANK)
        for strength in WEIGHTS:
            bench.switcher.put_on(blend(("one", strength)))
            assert_one_rounding(weight, before + strength * change)
