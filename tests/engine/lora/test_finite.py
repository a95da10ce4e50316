"""The check of bits for finite numbers agrees with torch, in each format that factors are kept in."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sdxl_gateway.engine.lora.finite import all_finite
from sdxl_gateway.engine.lora.formats import FILE_DTYPES, KEPT_DTYPES

KEPT = sorted({KEPT_DTYPES.get(dtype, dtype) for dtype in FILE_DTYPES.values()}, key=str)
INTEGERS = {2: torch.int16, 4: torch.int32}
EDGES = (0, 1, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FC00000, 0x7FFFFFFF)
"""Zero, the smallest number, the largest, infinity and NaNs, as float32's bits without their sign."""


def raw(bits: list[int], width: int) -> Tensor:
    """The low `width` bytes of each number, as bytes."""
    signed = [(one + (1 << (8 * width - 1))) % (1 << 8 * width) - (1 << (8 * width - 1)) for one in bits]
    return torch.tensor(signed, dtype=INTEGERS[width]).view(torch.uint8)


@pytest.mark.parametrize("dtype", [dtype for dtype in KEPT if dtype.itemsize == 2], ids=str)
def test_each_of_all_numbers_of_two_bytes(dtype: torch.dtype) -> None:
    every = raw(list(range(2**16)), 2)
    found = [all_finite(every[at : at + 2], dtype) for at in range(0, len(every), 2)]
    assert found == torch.isfinite(every.view(dtype)).tolist()


@given(bits=st.lists(st.integers(0, 2**32 - 1) | st.sampled_from([e + s for e in EDGES for s in (0, 2**31)])))
@pytest.mark.parametrize("dtype", KEPT, ids=str)
def test_any_numbers_together(dtype: torch.dtype, bits: list[int]) -> None:
    some = raw(bits, dtype.itemsize)
    assert all_finite(some, dtype) == bool(torch.isfinite(some.view(dtype)).all())


@pytest.mark.parametrize("at", [0, 4999, 9999])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), -float("nan")])
@pytest.mark.parametrize("dtype", KEPT, ids=str)
def test_one_among_many_is_found_wherever_it_lies(dtype: torch.dtype, value: float, at: int) -> None:
    numbers = torch.randn(10_000, generator=torch.Generator().manual_seed(3)).to(dtype)
    assert all_finite(numbers.view(torch.uint8), dtype)
    numbers[at] = value
    assert not all_finite(numbers.view(torch.uint8), dtype)
