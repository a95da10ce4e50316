"""Blends applied in place: exact sums, original bits restored, addresses kept, nothing left behind by an error."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sdxl_gateway.core.errors import AdapterRefused, DoesNotFit
from sdxl_gateway.core.events import BlendSwitched
from sdxl_gateway.core.recipe import NO_BLEND
from sdxl_gateway.engine.lora.layers import Layer, layers_of
from sdxl_gateway.engine.lora.merge import Change, LayerWriter
from tests.engine.lora.kit import Bench, MakeBench, Shelf, blend, lora, same_bits, tiny_components

Q = "unet.attentions.0.to_q"
Q1 = "unet.attentions.1.to_q"
K = "unet.attentions.0.to_k"
CONV = "unet.conv1"
NORM = "unet.norm1"
TE1 = "text_encoder.text_model.encoder.layers.0"
TE2 = "text_encoder_2.text_model.encoder.layers.1"


@pytest.fixture
def mixed(shelf: Shelf) -> Shelf:
    """Four adapters of different dialects that overlap on some layers."""
    shelf.add("aa", [(Q, "lora", lora(32, 32)), (CONV, "lora", lora(64, 288)), (TE1, "lora", lora(32, 32))])
    shelf.add("bb", [(Q, "lora", lora(32, 32, 2, 1.0)), (K, "lora", lora(32, 64)), (TE2, "lora", lora(64, 32))])
    hada = {"w1_a": torch.randn(32, 3), "w1_b": torch.randn(3, 32) * 0.1}
    hada |= {"w2_a": torch.randn(32, 3) * 0.1, "w2_b": torch.randn(3, 32), "alpha": torch.tensor(2.0)}
    shelf.add("cc", [(Q, "loha", hada), (NORM, "full", {"diff": torch.randn(32), "diff_b": torch.randn(32)})])
    shelf.add("dd", [(Q, "lora", lora(32, 32) | {"dora_scale": torch.rand(32, 1) + 0.5}), (Q1, "lora", lora(32, 32))])
    return shelf


EVERYTHING = (("aa", 0.5), ("bb", -0.7), ("cc", 1.0), ("dd", 1.25))


def delta(shelf: Shelf, bench: Bench, digest: str, name: str) -> Tensor:
    """The change of this adapter alone, in float64."""
    adapter = bench.cache.use(digest)
    pristine = tiny_components()
    weight = bench.weight(name) if digest == "" else _parameter(pristine, name)
    return adapter.deltas[name].dense(weight.float().flatten(1)).double().view(weight.shape)


def _parameter(components: dict[str, torch.nn.Module], name: str) -> Tensor:
    component, _, rest = name.partition(".")
    return components[component].get_parameter(rest).detach()


@pytest.mark.parametrize("stacked", [False, True])
def test_adapters_of_different_dialects_on_one_layer_add_up(mixed: Shelf, make_bench: MakeBench, stacked: bool) -> None:
    bench = make_bench(stacked=stacked)
    before = bench.weight(f"{Q}.weight").clone()
    bench.switcher.put_on(blend(*EVERYTHING))
    expected = before.double()
    for digest, weight in EVERYTHING:
        expected = expected + weight * delta(mixed, bench, digest, f"{Q}.weight")
    torch.testing.assert_close(bench.weight(f"{Q}.weight").double(), expected, rtol=1e-6, atol=1e-6)
    assert not torch.equal(bench.weight(f"{NORM}.bias"), tiny_bias())


def tiny_bias() -> Tensor:
    return _parameter(tiny_components(), f"{NORM}.bias")


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_order_and_the_history_never_matter(
    mixed: Shelf, make_bench: MakeBench, dtype: torch.dtype, stacked: bool
) -> None:
    """Every order of the parts, after every other blend, gives the same bits."""
    fresh = make_bench(dtype=dtype, stacked=stacked)
    fresh.switcher.put_on(blend(*EVERYTHING))
    expected = fresh.bits()
    worn = make_bench(dtype=dtype, stacked=stacked)
    for parts in permutations(EVERYTHING):
        worn.switcher.put_on(blend(*parts[:2]))
        worn.switcher.put_on(blend(*parts))
        assert same_bits(worn.bits(), expected)


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_taking_a_blend_off_gives_the_checkpoints_own_bits(
    mixed: Shelf, make_bench: MakeBench, dtype: torch.dtype, stacked: bool
) -> None:
    bench = make_bench(dtype=dtype, stacked=stacked)
    before = bench.bits()
    for parts in (("aa", 1.0),), (("bb", 2.0), ("cc", 1.0)), EVERYTHING:
        bench.switcher.put_on(blend(*parts))
        assert not same_bits(bench.bits(), before)
        bench.switcher.put_on(NO_BLEND)
        assert same_bits(bench.bits(), before)


PART = st.tuples(st.sampled_from(["aa", "bb", "cc", "dd"]), st.sampled_from([-0.7, 0.0, 0.5, 1.0]), st.floats(-1, 1))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=st.lists(st.lists(PART, max_size=4), min_size=1, max_size=6), stacked=st.booleans())
def test_any_sequence_of_blends_leaves_what_the_last_one_alone_gives(
    mixed: Shelf, make_bench: MakeBench, sequence: list[list[tuple[str, float, float]]], stacked: bool
) -> None:
    worn, fresh = make_bench(stacked=stacked), make_bench(stacked=stacked)
    for parts in sequence:
        worn.switcher.put_on(blend(*parts))
    fresh.switcher.put_on(blend(*sequence[-1]))
    assert same_bits(worn.bits(), fresh.bits())


def test_a_b_a_paints_the_same_a(mixed: Shelf, make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.switcher.put_on(blend(("aa", 0.8)))
    first = bench.bits()
    bench.switcher.put_on(blend(("bb", 0.5), ("dd", 1.0)))
    bench.switcher.put_on(blend(("aa", 0.8)))
    assert same_bits(bench.bits(), first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_writing_stacks_equals_writing_layers(mixed: Shelf, make_bench: MakeBench, dtype: torch.dtype) -> None:
    singly, stacked = make_bench(dtype=dtype), make_bench(dtype=dtype, stacked=True, stack_bytes=9000)
    for bench in singly, stacked:
        bench.switcher.put_on(blend(("aa", 0.5), ("bb", 0.7), ("dd", 1.0)))
    for name, bits in singly.bits().items():
        torch.testing.assert_close(stacked.bits()[name], bits, rtol=2e-3 if dtype is torch.float16 else 1e-6, atol=1e-6)


def test_only_layers_whose_blend_changed_are_rewritten(mixed: Shelf, make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.switcher.put_on_unet(blend(("aa", 1.0), ("bb", 1.0)))
    bench.switcher.put_on_unet(blend(("aa", 1.0)))
    bench.switcher.put_on_unet(blend(("aa", 1.0)))
    switches = [event.layers for event in bench.told if isinstance(event, BlendSwitched)]
    assert switches == [3, 2], "aa touches q and conv, bb q and k; the third call finds its blend on"


def test_unet_and_text_encoders_switch_apart_with_their_own_weights(mixed: Shelf, make_bench: MakeBench) -> None:
    bench = make_bench()
    before = bench.bits()
    bench.switcher.put_on_text(blend(("aa", 1.0, 0.25)))
    q, te1 = "unet.attentions.0.to_q.weight", "text_encoder.encoder.layers.0.weight"
    assert torch.equal(bench.bits()[q], before[q])
    assert bench.switcher.text_mix == (("aa", 0.25),)
    assert bench.switcher.unet_mix == ()
    change = bench.cache.use("aa").deltas[f"{TE1}.weight"].dense(before[te1])
    torch.testing.assert_close(bench.bits()[te1], before[te1] + 0.25 * change)
    bench.switcher.put_on(blend(("aa", 0.0, 0.5)))
    assert torch.equal(bench.bits()[q], before[q])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("stacked", [False, True])
def test_identity_address_and_strides_never_change(
    mixed: Shelf, make_bench: MakeBench, memory_format: torch.memory_format, stacked: bool
) -> None:
    """Compiled and graph-captured modules rely on this."""
    components = tiny_components()
    # torch's stubs only allow four-dimensional tensors with formats.
    components["unet"].to(memory_format=memory_format)  # type: ignore[call-overload]
    bench = make_bench(components=components, stacked=stacked)

    def identity() -> list[tuple[int, int, tuple[int, ...]]]:
        found = [p for module in components.values() for p in module.parameters()]
        return [(id(p), p.data_ptr(), p.stride()) for p in found]

    before, bits = identity(), bench.bits()
    plain = make_bench()
    for parts in EVERYTHING, (("aa", 1.0),), ():
        bench.switcher.put_on(blend(*parts))
        plain.switcher.put_on(blend(*parts))
        assert identity() == before
        for name, value in plain.bits().items():
            torch.testing.assert_close(bench.bits()[name], value, rtol=1e-6, atol=1e-6)
    assert same_bits(bench.bits(), bits)


def test_a_compiled_module_sees_the_blend_without_compiling_again(mixed: Shelf, make_bench: MakeBench) -> None:
    bench = make_bench()
    q = bench.components["unet"].get_submodule("attentions.0.to_q")
    compilations = 0

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        nonlocal compilations
        compilations += 1
        return graph.forward

    compiled = torch.compile(q, backend=backend)
    assert isinstance(compiled, nn.Module)
    assert layers_of({"unet": nn.ModuleDict({"q": compiled})}).keys() == {"unet.q.weight"}
    x = torch.randn(2, 32)
    with torch.no_grad():
        base = compiled(x)
        bench.switcher.put_on(blend(("aa", 1.0), ("cc", 1.0)))
        assert torch.equal(compiled(x), q(x))
        assert not torch.equal(compiled(x), base)
        bench.switcher.put_on(NO_BLEND)
        assert torch.equal(compiled(x), base)
    assert compilations == 1


@pytest.mark.parametrize("fault", [RuntimeError("driver"), torch.OutOfMemoryError("full")])
def test_an_error_half_way_leaves_the_checkpoints_bits(
    mixed: Shelf, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    bench = make_bench(dtype=torch.float16)
    before = bench.bits()
    bench.switcher.put_on(blend(("bb", 1.0)))
    write, calls = Layer.write, 0

    def failing(layer: Layer, matrix: Tensor) -> None:
        nonlocal calls
        calls += 1
        write(layer, matrix)
        if calls == 3:
            raise fault

    with monkeypatch.context() as patch:
        patch.setattr(Layer, "write", failing)
        with pytest.raises(DoesNotFit if isinstance(fault, torch.OutOfMemoryError) else RuntimeError):
            bench.switcher.put_on_unet(blend(*EVERYTHING))
    bench.switcher.put_on_text(NO_BLEND)
    assert same_bits(bench.bits(), before)
    assert bench.switcher.unet_mix == ()
    bench.switcher.put_on(blend(("bb", 1.0)))
    assert not same_bits(bench.bits(), before)


def test_a_switch_that_could_not_even_be_undone_is_mended_by_the_next(
    mixed: Shelf, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, healthy = make_bench(), make_bench()
    before = bench.bits()
    for one in bench, healthy:
        one.switcher.put_on(blend(("bb", 1.0)))

    def failing(layer: Layer) -> None:
        layer.parameter.fill_(7.0)
        raise RuntimeError("driver")

    for target in ((("aa", 1.0), ("bb", 1.0)), (("bb", 1.0),)):
        with monkeypatch.context() as patch:
            patch.setattr(Layer, "untouched", property(failing))
            with pytest.raises(RuntimeError, match="driver"):
                bench.switcher.put_on(blend(("dd", 1.0), ("aa", -1.0)))
        bench.switcher.put_on(blend(*target))
        healthy.switcher.put_on(blend(*target))
        assert same_bits(bench.bits(), healthy.bits())
    bench.switcher.put_on(NO_BLEND)
    assert same_bits(bench.bits(), before)


@pytest.mark.parametrize(
    ("module", "tensors"),
    [
        (Q, lora(32, 64)),
        (Q, lora(64, 32)),
        ("unet.no_such_layer", lora(32, 32)),
        (Q, lora(32, 32) | {"diff_b": torch.zeros(32)}),
    ],
)
def test_a_misfit_is_refused_before_anything_is_touched(
    mixed: Shelf, make_bench: MakeBench, module: str, tensors: dict[str, Tensor]
) -> None:
    mixed.add("ff", [(K, "lora", lora(32, 64)), (module, "lora", tensors)])
    bench = make_bench()
    bench.switcher.put_on(blend(("aa", 1.0)))
    before = bench.bits()
    with pytest.raises(AdapterRefused):
        bench.switcher.put_on_unet(blend(("bb", 1.0), ("ff", 1.0)))
    assert same_bits(bench.bits(), before)
    assert bench.switcher.unet_mix == (("aa", 1.0),)


def test_shortcuts_allowed_for_painting_do_not_reach_the_sums(
    mixed: Shelf, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # torch's stubs lack it.
    matmul, seen = torch.backends.mkldnn.matmul, set()  # type: ignore[attr-defined]
    write = LayerWriter.write

    def watched(writer: LayerWriter, change: Change) -> None:
        seen.add(matmul.fp32_precision)
        write(writer, change)

    monkeypatch.setattr(LayerWriter, "write", watched)
    before, matmul.fp32_precision = matmul.fp32_precision, "bf16"
    try:
        make_bench().switcher.put_on(blend(*EVERYTHING))
        assert seen == {"ieee"}
        assert matmul.fp32_precision == "bf16"
    finally:
        matmul.fp32_precision = before


def test_blends_switch_inside_and_outside_of_inference_mode(mixed: Shelf, make_bench: MakeBench) -> None:
    bench = make_bench(dtype=torch.bfloat16)
    before = bench.bits()
    with torch.inference_mode():
        bench.switcher.put_on(blend(*EVERYTHING))
    bench.switcher.put_on(blend(("aa", 1.0)))
    with torch.inference_mode():
        bench.switcher.put_on(NO_BLEND)
    assert same_bits(bench.bits(), before)
