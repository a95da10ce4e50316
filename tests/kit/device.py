"""The device that engines under test paint on: a CPU, unless `make test-gpu` names another."""

from __future__ import annotations

import os

import torch

DEVICE = os.environ.get("TEST_DEVICE", "cpu")


def paint_exactly() -> None:
    """Float32 in float32, and the same kernels each time: pictures of one device are compared to the last bit."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
