"""The merge kernels in Triton's interpreter: one rounding in any dialect, and what all kinds of merging guarantee."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sdxl_gateway.catalog.lora_format.plan import ModulePart
from sdxl_gateway.core.recipe import NO_BLEND
from sdxl_gateway.engine.lora import fused
from sdxl_gateway.engine.lora.delta import Dora, Lora
from sdxl_gateway.engine.lora.fused import merge_kernel
from sdxl_gateway.engine.lora.gains import Decomposed, gains_of
from sdxl_gateway.engine.lora.kernel_proof import prove
from sdxl_gateway.engine.lora.layers import Layer
from sdxl_gateway.engine.lora.merge import Change, LayerWriter
from sdxl_gateway.engine.lora.table import GENERAL, MergeTable
from tests.engine.lora.kit import (
    CPU,
    MakeBench,
    Shelf,
    Tensors,
    assert_one_rounding,
    blend,
    lora,
    same_bits,
    tiny_components,
)
from tests.engine.lora.oracle import CONV, LINEAR

triton_merge = pytest.importorskip("sdxl_gateway.engine.lora.triton_merge", reason="Triton is for Linux alone")

Q = "unet.attentions.0.to_q"
K = "unet.attentions.0.to_k"
OUT = "unet.attentions.0.to_out.0"
CONVOLUTION = "unet.conv1"
PLAIN = 0
BLENDS = ((("aa", 0.5), ("bb", -0.7)), (("bb", 1.0),), (("aa", 0.3), ("cc", 0.8), ("dd", 1.25)), ())


class Counted:
    """The kernels, recording the tables they are given."""

    def __init__(self) -> None:
        self.tables: list[MergeTable] = []

    def __call__(self, merge: MergeTable, device: torch.device) -> None:
        self.tables.append(merge)
        triton_merge.launch(merge, device)

    @property
    def groups(self) -> list[int]:
        """The groups of all launches."""
        return [launch.group for merge in self.tables for launch in merge.launches]


def half(tensors: Tensors) -> Tensors:
    return {role: tensor.half() for role, tensor in tensors.items()}


@pytest.fixture
def overlapping(shelf: Shelf) -> Shelf:
    """Adapters of several dialects and number formats that change some layers in common."""
    shelf.add("aa", [(Q, "lora", half(lora(32, 32, 8))), (CONVOLUTION, "lora", half(lora(64, 288, 8)))])
    shelf.add("bb", [(Q, "lora", half(lora(32, 32, 16, 1.0))), (K, "lora", half(lora(32, 64, 8)))])
    hada = {"w1_a": torch.randn(32, 3), "w1_b": torch.randn(3, 32) * 0.1}
    hada |= {"w2_a": torch.randn(32, 3) * 0.1, "w2_b": torch.randn(3, 32), "alpha": torch.tensor(2.0)}
    shelf.add("cc", [(Q, "loha", hada), ("unet.norm1", "full", {"diff": torch.randn(32), "diff_b": torch.randn(32)})])
    shelf.add("dd", [(Q, "lora", lora(32, 32) | {"dora_scale": torch.rand(32, 1) + 0.5})])
    return shelf


def _channels_last(components: dict[str, torch.nn.Module]) -> dict[str, torch.nn.Module]:
    # torch's stubs only allow four-dimensional tensors with formats.
    components["unet"].to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return components


@pytest.mark.parametrize("layer", [f"linear {name}" for name in LINEAR] + [f"conv {name}" for name in CONV])
def test_every_dialect_is_rounded_once(shelf: Shelf, make_bench: MakeBench, layer: str) -> None:
    """Compared to the trainers' own code in float64; by the kernels, unless there is a core tensor."""
    kind, _, name = layer.partition(" ")
    module, train = (OUT, LINEAR[name]) if kind == "linear" else (CONVOLUTION, CONV[name])
    kernel = Counted()
    bench = make_bench(dtype=torch.float16, components=_channels_last(tiny_components(torch.float16)), kernel=kernel)
    pristine = bench.weight(f"{module}.weight").double()
    trained = train(bench.weight(f"{module}.weight"))
    keys = {role: f"{module}.{trained.magnitude_key if role == 'dora_scale' else role}" for role in trained.tensors}
    part = ModulePart(module, trained.algorithm, keys, trained.scale)
    shelf.add_file("ab", {keys[role]: tensor.contiguous() for role, tensor in trained.tensors.items()}, [part])
    bench.switcher.put_on(blend(("ab", 0.75)))
    expected = pristine + 0.75 * (trained.weight - pristine)
    assert_one_rounding(bench.weight(f"{module}.weight"), expected)
    assert bool(kernel.tables) != ("Tucker" in name or "mid" in name)


def test_plain_loras_of_16_bits_differ_from_one_rounding_hardly_anywhere(shelf: Shelf, make_bench: MakeBench) -> None:
    """Three of them, by the kernel that multiplies in float16: the same error as rounding float64 once."""
    kernel = Counted()
    bench = make_bench(dtype=torch.float16, kernel=kernel)
    expected = bench.weight(f"{Q}.weight").double()
    for digest, weight in ("aa", 0.8), ("bb", 0.33), ("cc", -0.5):
        factors = half(lora(32, 32, 64, alpha=64.0, size=0.02))
        shelf.add(digest, [(Q, "lora", factors)])
        expected += weight * factors["up"].double() @ factors["down"].double()
    bench.switcher.put_on(blend(("aa", 0.8), ("bb", 0.33), ("cc", -0.5)))
    found = bench.weight(f"{Q}.weight")
    assert kernel.groups == [PLAIN]
    assert_one_rounding(found, expected)
    assert (found != expected.half()).float().mean() < 0.005
    error, least = ((one.double() - expected).norm() for one in (found, expected.half()))
    assert error < 1.0001 * least


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_order_and_history_never_matter(overlapping: Shelf, make_bench: MakeBench, dtype: torch.dtype) -> None:
    """Neither do copies on the device or in host memory differ; every change is undone to the bit."""
    fresh = make_bench(dtype=dtype, kernel=triton_merge.launch, pristine="host")
    before = fresh.bits()
    parts = BLENDS[2]
    fresh.switcher.put_on(blend(*parts))
    worn = make_bench(dtype=dtype, kernel=triton_merge.launch)
    for order in permutations(parts):
        worn.switcher.put_on(blend(*BLENDS[0]))
        worn.switcher.put_on(blend(*order))
        assert same_bits(worn.bits(), fresh.bits())
    worn.switcher.put_on(NO_BLEND)
    assert same_bits(worn.bits(), before)


def test_identity_address_and_strides_never_change(overlapping: Shelf, make_bench: MakeBench) -> None:
    components = _channels_last(tiny_components(torch.float16))
    bench, singly = make_bench(components=components, kernel=triton_merge.launch), make_bench(dtype=torch.float16)

    def identity() -> list[tuple[int, int, tuple[int, ...]]]:
        found = [p for module in components.values() for p in module.parameters()]
        return [(id(p), p.data_ptr(), p.stride()) for p in found]

    before, bits = identity(), bench.bits()
    for parts in BLENDS:
        for one in bench, singly:
            one.switcher.put_on(blend(*parts))
        assert identity() == before
        for name, value in singly.bits().items():
            torch.testing.assert_close(bench.bits()[name], value, rtol=1e-3, atol=1e-6)
    assert same_bits(bench.bits(), bits)


def test_only_what_no_kernel_computes_is_written_otherwise(
    overlapping: Shelf, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Counted()
    bench = make_bench(dtype=torch.float16, kernel=kernel)
    written: list[str] = []
    write = LayerWriter.write

    def watched(writer: LayerWriter, change: Change) -> None:
        written.append(change.layer.name)
        write(writer, change)

    monkeypatch.setattr(LayerWriter, "write", watched)
    for parts in BLENDS:
        bench.switcher.put_on(blend(*parts))
    assert written == []
    assert len(kernel.tables) == 3
    assert set(kernel.groups) == {PLAIN, *GENERAL}


def test_gains_are_computed_once(overlapping: Shelf, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """DoRA's norms only depend on the original weights."""
    counted = [0]

    def counting(decomposed: Sequence[Decomposed]) -> Tensor:
        counted[0] += 1
        return gains_of(decomposed)

    monkeypatch.setattr(fused, "gains_of", counting)
    bench = make_bench(dtype=torch.float16, kernel=triton_merge.launch)
    for weight in 0.5, 0.8, 1.0:
        bench.switcher.put_on(blend(("dd", weight)))
    assert counted == [1]


def test_gains_of_layers_that_are_alike_are_computed_together() -> None:
    def decomposed(rows: int, columns: int, rank: int, by_row: bool = True) -> Decomposed:
        inner = Lora(torch.randn(rows, rank), torch.randn(rank, columns), None, rank / 3)
        magnitude = torch.rand(rows, 1) if by_row else torch.rand(1, columns)
        return Layer("one", torch.randn(rows, columns), CPU), Dora(inner, magnitude, by_row)

    shapes = 3 * [(8, 6, 2), (5, 6, 2), (8, 6, 4)]
    several = [*(decomposed(*shape) for shape in shapes), decomposed(8, 6, 2, by_row=False), decomposed(8, 6, 2)]
    expected = torch.cat([delta.gain(layer.parameter) for layer, delta in several])
    torch.testing.assert_close(gains_of(several), expected)


def test_an_error_leaves_the_checkpoints_bits(overlapping: Shelf, make_bench: MakeBench) -> None:
    calls = [0]

    def failing(merge: MergeTable, device: torch.device) -> None:
        triton_merge.launch(merge, device)
        calls[0] += 1
        if calls[0] == 2:
            raise RuntimeError("driver")

    bench = make_bench(dtype=torch.float16, kernel=failing)
    before = bench.bits()
    bench.switcher.put_on(blend(("aa", 1.0)))
    with pytest.raises(RuntimeError, match="driver"):
        bench.switcher.put_on(blend(("bb", 1.0)))
    assert same_bits(bench.bits(), before)
    bench.switcher.put_on(blend(("bb", 1.0)))
    assert not same_bits(bench.bits(), before)


def test_a_kernel_is_proved_before_it_is_used() -> None:
    prove(triton_merge.launch, CPU, torch.float16)
    with pytest.raises(AssertionError):
        prove(lambda merge, device: None, CPU, torch.float16)
    assert merge_kernel(CPU, torch.float16) is None


def test_compiled_it_loads_and_stores_16_bytes_at_once(tmp_path: Path) -> None:
    """If the compiler ignores an alignment hint that costs time, which no comparison of results shows."""
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "tests.engine.lora.compiled_merge"]
    found = json.loads(subprocess.check_output(command, cwd=Path(__file__).parents[3], env=environment))
    assert found["of 2 bytes"] == 0
    assert all(found[what] for what in ("loads of 16 bytes", "stores of 16 bytes", "tensor cores"))
