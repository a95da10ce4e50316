"""Takes floating-point numbers, says whether all are finite: by their bits, read as whole numbers.

An infinity or a NaN is larger than every finite number as a signed whole number where it is positive, and as one
without a sign where it is negative. numpy finds a largest number at the speed of memory and lets other threads run
meanwhile, which matters more: a step of a picture is thousands of short calls into Python.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_LARGEST = {
    torch.float32: 0x7F7FFFFF,
    torch.float16: 0x7BFF,
    torch.bfloat16: 0x7F7F,
}
"""The bits of the largest finite number of each format that factors are kept in."""
_SIGNED = {2: np.int16, 4: np.int32}
_UNSIGNED = {2: np.uint16, 4: np.uint32}


def all_finite(raw: Tensor, dtype: torch.dtype) -> bool:
    """`raw` is (bytes,) uint8 in host memory, numbers of `dtype`, which is one that factors are kept in."""
    bits = raw.numpy()
    width, largest = dtype.itemsize, _LARGEST[dtype]
    negative = 1 << (8 * width - 1)
    positives = bits.view(_SIGNED[width]).max(initial=0)
    return bool(positives <= largest) and bool(bits.view(_UNSIGNED[width]).max(initial=0) <= negative + largest)
