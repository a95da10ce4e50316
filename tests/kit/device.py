"""The device that engines under test paint on: a CPU, unless `make test-gpu` names another."""

from __future__ import annotations

import os

import torch

DEVICE = os.environ.get("TEST_DEVICE", "cpu")


def paint_exactly() -> None:
    """Disable TF32 and non-deterministic kernels, because pictures of one device are compared bit by bit."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
