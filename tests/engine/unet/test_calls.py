"""A UNet's call is split into rows and put together again unchanged."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sdxl_gateway.engine.unet.calls import Call, in_buckets


def _arguments(rows: int, tokens: int = 3) -> tuple[Tensor, Tensor, dict[str, Any]]:
    others = {
        "encoder_hidden_states": torch.randn(rows, tokens, 2),
        "timestep_cond": None,
        "added_cond_kwargs": {"text_embeds": torch.randn(rows, 5), "time_ids": torch.randn(rows, 6)},
        "return_dict": False,
    }
    return torch.randn(1, 4, 8, 8).expand(rows, -1, -1, -1), torch.arange(float(rows)), others


def _call(rows: int, tokens: int = 3) -> Call:
    found = Call.of(*_arguments(rows, tokens))
    assert found is not None
    return found


def test_a_call_is_made_of_what_it_was_taken_from() -> None:
    sample, timesteps, others = _arguments(3)
    seen: list[Any] = []

    def unet(*inputs: Tensor, **arguments: Any) -> tuple[Tensor]:
        seen.append((inputs, arguments))
        return (inputs[0],)

    call = Call.of(sample, timesteps, others)
    assert call is not None
    assert call.made(unet) is seen[0][0][0]
    (latents, times), arguments = seen[0]
    assert torch.equal(latents, sample)
    assert latents.is_contiguous()
    assert torch.equal(times, timesteps)
    assert arguments.keys() == others.keys()
    assert (arguments["timestep_cond"], arguments["return_dict"]) == (None, False)
    added = arguments["added_cond_kwargs"]
    assert all(torch.equal(added[name], value) for name, value in others["added_cond_kwargs"].items())


def test_forms_differ_in_all_but_rows() -> None:
    assert _call(2).form == _call(5).form
    assert hash(_call(2).form) == hash(_call(5).form)
    assert _call(2).form != _call(2, tokens=4).form
    sample, timesteps, others = _arguments(2)
    halved = Call.of(sample.half(), timesteps, others)
    with_scale = Call.of(sample, timesteps, others | {"timestep_cond": torch.randn(2, 8)})
    assert halved is not None
    assert with_scale is not None
    assert len({_call(2).form, halved.form, with_scale.form}) == 3


@pytest.mark.parametrize("others", [{"down_block_additional_residuals": (torch.zeros(2),)}, {"scale": torch.zeros(1)}])
def test_what_is_not_of_rows_alone_is_no_such_call(others: dict[str, Any]) -> None:
    sample, timesteps, usual = _arguments(2)
    assert Call.of(sample, timesteps, usual | others) is None


def test_rows_stay_in_their_order() -> None:
    call = _call(7)
    parts = call.split(in_buckets(7))
    assert [part.rows for part in parts] == [4, 2, 1]
    for whole, *pieces in zip(call.tensors, *(part.tensors for part in parts), strict=True):
        assert torch.equal(torch.cat(pieces), whole)
    assert call.split([7]) == [call]


@pytest.mark.parametrize(
    ("rows", "sizes"), [(1, [1]), (2, [2]), (3, [2, 1]), (6, [4, 2]), (8, [8]), (19, [8, 8, 2, 1])]
)
def test_buckets_hold_the_rows_and_no_others(rows: int, sizes: list[int]) -> None:
    assert in_buckets(rows) == sizes


def test_copies_share_no_memory() -> None:
    call = _call(2)
    laid_out = call.laid_out_in(torch.empty(call.size_bytes, dtype=torch.uint8))
    for other in (laid_out, call.repeated(2)):
        pairs = list(zip(call.tensors, other.tensors, strict=True))
        assert all(mine.data_ptr() != theirs.data_ptr() for mine, theirs in pairs)
        assert all(theirs.is_contiguous() for _, theirs in pairs)
    assert [len(tensor) for tensor in call.repeated(8).tensors] == [8] * 5
    assert all(torch.equal(tensor[0], tensor[7]) for tensor in call.repeated(8).tensors)
    assert sum(tensor.untyped_storage().nbytes() for tensor in call.blank().tensors) == 5 * 4
    assert call.blank().form == call.form
