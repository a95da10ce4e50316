"""Reading files: every number finite, exact widening, factors in one buffer, malformed files refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sdxl_gateway.catalog.lora_folder.copies import store_path
from sdxl_gateway.catalog.lora_format.plan import ModulePart
from sdxl_gateway.config import Loras
from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.engine.lora.formats import ALIGNMENT_BYTES, Adapter, lay_out
from sdxl_gateway.engine.lora.reading import read_factors
from sdxl_gateway.engine.lora.stored import stored_adapters
from tests.engine.lora.kit import CPU, Shelf, Tensors, lora

Q = "unet.attentions.0.to_q"
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)


def read(shelf: Shelf, digest: str = "aa") -> Adapter:
    return read_factors(lay_out(shelf.open(digest)), pinned=False).on(CPU)


def cast(tensors: Tensors, dtype: torch.dtype) -> Tensors:
    return {role: tensor.to(dtype) for role, tensor in tensors.items()}


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_float_type_is_kept_or_widened_exactly(shelf: Shelf, dtype: torch.dtype) -> None:
    saved = cast(lora(32, 32), dtype)
    shelf.add("aa", [(Q, "lora", saved)])
    delta = read(shelf).deltas[f"{Q}.weight"]
    factors = delta.low_rank()
    assert factors is not None
    assert torch.equal(factors.up.float(), saved["up"].float())
    assert torch.equal(factors.down.float(), saved["down"].float())
    assert factors.scale == float(saved["alpha"].float()) / 4


def test_factors_lie_in_one_buffer_whose_size_was_known(shelf: Shelf) -> None:
    shelf.add("aa", [(Q, "lora", cast(lora(32, 32, rank=3), torch.float16)), ("unet.ff", "lora", lora(5, 7, rank=1))])
    layout = lay_out(shelf.open("aa"))
    factors_on = read_factors(layout, pinned=False).on
    adapter = factors_on(CPU)
    assert adapter.size_bytes == adapter.buffer.nbytes == layout.size_bytes
    begin, end = adapter.buffer.data_ptr(), adapter.buffer.data_ptr() + adapter.buffer.nbytes
    for delta in adapter.deltas.values():
        factors = delta.low_rank()
        assert factors is not None
        for tensor in (factors.up, factors.down):
            assert begin <= tensor.data_ptr() < end
            assert (tensor.data_ptr() - begin) % ALIGNMENT_BYTES == 0
    assert factors_on(CPU).buffer.data_ptr() == begin, "in host memory there is nothing to copy"
    elsewhere = factors_on(torch.device("meta"))
    assert elsewhere.deltas.keys() == adapter.deltas.keys()
    assert elsewhere.buffer.is_meta


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("role", ["up", "down", "alpha", "dora_scale"])
def test_a_value_that_is_not_finite_is_refused_by_name(shelf: Shelf, role: str, value: float) -> None:
    tensors = lora(32, 32) | {"dora_scale": torch.ones(32, 1)}
    tensors[role].view(-1)[-1] = value
    shelf.add("aa", [(Q, "lora", tensors)])
    with pytest.raises(AdapterRefused, match=rf"{Q}\.{role}.* finite"):
        read(shelf)


@pytest.mark.parametrize(
    ("algorithm", "tensors"),
    [
        ("lora", {"up": torch.ones(32, 3), "down": torch.ones(4, 32)}),
        ("lora", {"up": torch.ones(32, 4)}),
        ("lora", lora(32, 32) | {"dora_scale": torch.ones(31, 1)}),
        ("lora", lora(32, 32) | {"dora_scale": torch.ones(1, 33)}),
        ("lora", {"up": torch.ones(32, 3), "down": torch.ones(3, 32), "mid": torch.ones(2, 3, 3, 3)}),
        ("lora", {"up": torch.ones(32, 3), "down": torch.ones(3, 32), "mid": torch.ones(3)}),
        ("lora", {"up": torch.ones(()), "down": torch.ones(3, 32)}),
        (
            "lokr",
            {"w1": torch.ones(2, 2), "w2_a": torch.ones(3, 2), "w2_b": torch.ones(3, 2), "t2": torch.ones(2, 3, 3, 3)},
        ),
        ("loha", {name: torch.ones(3, 3) for name in ("w1_a", "w1_b", "w2_a")}),
        ("loha", dict.fromkeys(("w1_a", "w1_b", "w2_a"), torch.ones(3, 3)) | {"w2_b": torch.ones(3, 4)}),
        ("loha", dict.fromkeys(("w1_a", "w1_b", "w2_a", "w2_b"), torch.ones(3, 3)) | {"t1": torch.ones(2, 3, 3, 3)}),
        ("lokr", {"w1": torch.ones(2, 2), "w2_a": torch.ones(2, 3)}),
        ("lokr", {"w1": torch.ones(2, 2), "w2_a": torch.ones(2, 3), "w2_b": torch.ones(2, 2)}),
        ("full", {"alpha": torch.ones(1), "t1": torch.ones(1)}),
        ("lora", lora(32, 32) | {"alpha": torch.ones(2)}),
        ("lora", {"up": torch.ones(32, 0), "down": torch.ones(0, 32), "alpha": torch.ones(1)}),
        ("lora", {"up": torch.ones(32, 4, dtype=torch.int32), "down": torch.ones(4, 32)}),
    ],
)
def test_tensors_that_make_no_change_of_a_weight_are_refused(shelf: Shelf, algorithm: str, tensors: Tensors) -> None:
    shelf.add("aa", [(Q, algorithm, {role: t.clone() for role, t in tensors.items()})])
    with pytest.raises(AdapterRefused):
        read(shelf)


def test_a_layer_changed_twice_is_refused(shelf: Shelf) -> None:
    tensors = {"one": torch.ones(32, 32), "two": torch.ones(32, 32)}
    shelf.add_file("aa", tensors, [ModulePart(Q, "full", {"diff": "one"}), ModulePart(Q, "full", {"diff": "two"})])
    with pytest.raises(AdapterRefused, match="twice"):
        read(shelf)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float8_e4m3fn])
def test_a_file_cut_short_after_planning_is_refused(shelf: Shelf, dtype: torch.dtype) -> None:
    shelf.add("aa", [(Q, "lora", cast(lora(32, 32), dtype))])
    path = Path(shelf.open("aa").path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(AdapterRefused, match="cut short"):
        read(shelf)


def test_an_absent_or_zero_alpha_leaves_the_factors_alone(shelf: Shelf) -> None:
    zero, absent = lora(32, 32, alpha=0.0), lora(32, 32)
    del absent["alpha"]
    shelf.add("aa", [(Q, "lora", zero), ("unet.other", "lora", absent)])
    for delta in read(shelf).deltas.values():
        factors = delta.low_rank()
        assert factors is not None
        assert factors.scale == 1.0


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8])
def test_alpha_may_be_a_whole_number(shelf: Shelf, dtype: torch.dtype) -> None:
    shelf.add("aa", [(Q, "lora", lora(32, 32, rank=4) | {"alpha": torch.tensor(3, dtype=dtype)})])
    factors = read(shelf).deltas[f"{Q}.weight"].low_rank()
    assert factors is not None
    assert factors.scale == 0.75


def test_alpha_may_not_be_a_truth_value(shelf: Shelf) -> None:
    shelf.add("aa", [(Q, "lora", lora(32, 32) | {"alpha": torch.tensor(True)})])
    with pytest.raises(AdapterRefused, match="BOOL"):
        lay_out(shelf.open("aa"))


def test_the_private_store_is_opened_by_digest_and_planned(tmp_path: Path) -> None:
    """With kohya's spelling of a real module name, which is found among the checkpoint's shapes."""
    digest = "ab" * 32
    raw = lora(32, 32)
    keys = {"up": "lora_up.weight", "down": "lora_down.weight", "alpha": "alpha"}
    saved: dict[str, Tensor] = {f"lora_unet_mid_block_attentions_0_to_q.{keys[role]}": t for role, t in raw.items()}
    path = store_path(tmp_path, digest)
    path.parent.mkdir(parents=True)
    save_file(saved, path)
    name = "unet.mid_block.attentions.0.to_q"
    open_adapter = stored_adapters(tmp_path, {name: (32, 32)}, Loras())
    adapter = read_factors(lay_out(open_adapter(digest)), pinned=False).on(CPU)
    expected = raw["up"] @ raw["down"] * 0.5
    torch.testing.assert_close(adapter.deltas[f"{name}.weight"].dense(torch.zeros(32, 32)), expected)
    with pytest.raises(AdapterRefused):
        open_adapter("cd" * 32)
    with pytest.raises(AdapterRefused):
        open_adapter("../../etc/passwd")
    with pytest.raises(AdapterRefused):
        stored_adapters(tmp_path, {name: (64, 32)}, Loras())(digest)
