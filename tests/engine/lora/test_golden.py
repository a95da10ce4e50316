"""Every dialect, on every kind of layer, at several weights and storage dtypes, against the library that trains it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.engine.lora.kit import Bench, MakeBench, PlannedPart, Shelf, blend, parameter, tiny_components
from tests.engine.lora.oracle import CONV, LINEAR, Train, Trained, norm

WEIGHTS = (0.5, 1.0, -0.7)
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
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
    """A file with the one layer, keys spelled so that a PEFT magnitude is known as one."""
    keys = {role: f"{module}.{trained.magnitude_key if role == 'dora_scale' else role}" for role in trained.tensors}
    tensors = {keys[role]: tensor.contiguous() for role, tensor in trained.tensors.items()}
    shelf.add_file("one", tensors, [PlannedPart(module, trained.algorithm, keys, trained.scale)])


def assert_one_rounding(actual: Tensor, expected: Tensor) -> None:
    """Within half a unit in the last place of the storage dtype, plus what float32 arithmetic may lose before it."""
    finfo = torch.finfo(actual.dtype)
    exponent = torch.floor(torch.log2(expected.abs().clamp_min(finfo.smallest_normal)))
    unit = finfo.eps * torch.exp2(exponent)
    allowed = 0.5 * unit + 1e-6 * expected.abs().max()
    excess = ((actual.double() - expected).abs() - allowed).max()
    assert excess <= 0, f"{float(excess)} beyond one rounding"


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
