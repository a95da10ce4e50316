"""Takes floating-point numbers, tells whether all are finite, by comparing their bits as integers.

A positive infinity or NaN is larger than every finite number as a signed integer, and a negative one as an unsigned
integer. numpy finds the maximum at memory speed and releases the GIL, which matters more, as steps make thousands of
short calls in Python meanwhile.
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
    """For `raw`, (bytes,) uint8 in host memory, which holds numbers of `dtype`, one that factors are kept in."""
    bits = raw.numpy()
    width, largest = dtype.itemsize, _LARGEST[dtype]
    negative = 1 << (8 * width - 1)
    positives = bits.view(_SIGNED[width]).max(initial=0)
    return bool(positives <= largest) and bool(bits.view(_UNSIGNED[width]).max(initial=0) <= negative + largest)
