"""The device in words, told without torch."""

from __future__ import annotations

import os

import pytest

from sdxl_gateway.telemetry import device
from sdxl_gateway.telemetry.device import Gpu, describe_device, memory_bytes


def test_a_gpu_is_named_with_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = (Gpu(0, "First", 0, 24 * 10**9, 0), Gpu(1, "Second", 0, 80 * 10**9, 0))
    monkeypatch.setattr(device, "read_gpus", lambda: gpus)

    assert describe_device("auto") == "cuda (First, 24 GB)"
    assert describe_device("cuda:1") == "cuda (Second, 80 GB)"


def test_a_wished_for_cpu_is_told_even_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "read_gpus", lambda: (Gpu(0, "First", 0, 24 * 10**9, 0),))

    assert describe_device("cpu").startswith("cpu (")
    assert f"{os.cpu_count()} cores" in describe_device("cpu")


def test_the_memory_of_the_gpu_that_would_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = (Gpu(0, "First", 0, 24 * 10**9, 0), Gpu(1, "Second", 0, 80 * 10**9, 0))
    monkeypatch.setattr(device, "read_gpus", lambda: gpus)

    assert [memory_bytes(name) for name in ("auto", "cuda", "cuda:1")] == [24 * 10**9, 24 * 10**9, 80 * 10**9]
    assert [memory_bytes(name) for name in ("cpu", "mps", "cuda:2")] == [None, None, None]
