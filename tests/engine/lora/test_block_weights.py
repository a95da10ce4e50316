"""Block weights: each layer equals the whole adapter applied at that layer's weight, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sdxl_gateway.core.blocks import BLOCKS, block_of
from sdxl_gateway.core.recipe import NO_BLEND, Blend, BlendPart
from tests.engine.lora.kit import Bench, MakeBench, Shelf, assert_one_rounding, lora, same_bits

LAYERS = (
    "conv_in",
    *(f"down_blocks.{level}.resnets.{n}.conv1" for level in range(3) for n in range(2)),
    *(f"down_blocks.{level}.downsamplers.0.conv" for level in range(2)),
    "down_blocks.1.attentions.1.proj_in",
    "mid_block.attentions.0.proj_in",
    *(f"up_blocks.{level}.attentions.{n}.proj_in" for level in range(3) for n in range(3)),
    "up_blocks.0.upsamplers.0.conv",
    "time_embedding.linear_1",
    "conv_out",
)
FACTORS = tuple((place - 6) / 8 for place in range(len(BLOCKS)))
"""Of both signs, and 0."""
WEIGHT = 0.75


def unet() -> nn.Module:
    """Only linear layers, with names of SDXL's."""
    torch.manual_seed(5)
    root = nn.Module()
    for name in LAYERS:
        *path, last = name.split(".")
        inside = root
        for step in path:
            if not hasattr(inside, step):
                inside.add_module(step, nn.Module())
            inside = inside.get_submodule(step)
        inside.add_module(last, nn.Linear(16, 16, bias=False))
    return root


def on(digest: str, *factors: float, weight: float = WEIGHT) -> Blend:
    return Blend.of([BlendPart(digest, weight, weight, "", factors)])


@pytest.fixture
def aa(shelf: Shelf) -> str:
    return shelf.add("aa", [(f"unet.{name}", "lora", lora(16, 16)) for name in LAYERS])


def built(make_bench: MakeBench, dtype: torch.dtype = torch.float32, *, stacked: bool = False) -> Bench:
    module: nn.Module = unet().to(dtype).requires_grad_(False)
    return make_bench(components={"unet": module}, stacked=stacked)


def weight_of(layer: str) -> float:
    block = block_of(layer)
    return WEIGHT if block is None else WEIGHT * FACTORS[block]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_each_layer_is_as_the_adapter_at_its_own_weight_makes_it(
    aa: str, make_bench: MakeBench, dtype: torch.dtype
) -> None:
    weighed, plain = built(make_bench, dtype), built(make_bench, dtype)
    weighed.switcher.put_on(on(aa, *FACTORS))
    for name, found in weighed.bits().items():
        plain.switcher.put_on(on(aa, weight=weight_of(name)))
        assert torch.equal(found, plain.bits()[name]), name


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_each_layer_is_the_merge_by_hand(aa: str, make_bench: MakeBench, dtype: torch.dtype, stacked: bool) -> None:
    bench = built(make_bench, dtype, stacked=stacked)
    before = bench.bits()
    bench.switcher.put_on(on(aa, *FACTORS))
    deltas = bench.cache.use(aa).deltas
    for name, found in bench.bits().items():
        assert_one_rounding(found, by_hand(before[name], deltas[name].dense(before[name].float()), weight_of(name)))


def by_hand(before: Tensor, change: Tensor, weight: float) -> Tensor:
    return before.double() + weight * change.double()


@pytest.mark.parametrize("stacked", [False, True])
def test_block_weights_leave_nothing_behind(aa: str, make_bench: MakeBench, stacked: bool) -> None:
    bench = built(make_bench, stacked=stacked)
    order = (on(aa, *FACTORS), on(aa), NO_BLEND, on(aa, *reversed(FACTORS)), on(aa, *FACTORS), NO_BLEND, on(aa))
    seen: dict[Blend, dict[str, Tensor]] = {}
    for blend in order:
        bench.switcher.put_on(blend)
        assert same_bits(bench.bits(), seen.setdefault(blend, bench.bits()))
    assert not same_bits(seen[on(aa)], seen[on(aa, *FACTORS)])


def test_a_block_of_weight_0_is_not_touched(aa: str, make_bench: MakeBench) -> None:
    bench = built(make_bench)
    before = bench.bits()
    bench.switcher.put_on(on(aa, *(0.0 for _ in BLOCKS)))
    changed = {name for name, found in bench.bits().items() if not torch.equal(found, before[name])}
    assert changed == {"unet.time_embedding.linear_1.weight", "unet.conv_out.weight"}
