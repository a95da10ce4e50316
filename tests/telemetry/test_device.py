"""The device in words, told without torch."""

from __future__ import annotations

import os

import pytest

from sdxl_gateway.config import Engine
from sdxl_gateway.core.errors import StartProblem
from sdxl_gateway.telemetry import device
from sdxl_gateway.telemetry.device import (
    Gpu,
    describe_device,
    devices_of,
    fp8_problem,
    least_memory_bytes,
    memory_bytes,
    visible,
)


@pytest.fixture(autouse=True)
def _all_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_gpu_is_named_with_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = (Gpu(0, "First", 0, 24 * 10**9, 0), Gpu(1, "Second", 0, 80 * 10**9, 0))
    monkeypatch.setattr(device, "read_gpus", lambda: gpus)

    assert describe_device("auto") == "cuda (First, 24 GB)"
    assert describe_device("cuda:1") == "cuda:1 (Second, 80 GB)"
    assert least_memory_bytes(("cuda:0", "cuda:1", "cpu")) == 24 * 10**9
    assert least_memory_bytes(("cpu",)) is None


def test_an_engine_for_each_gpu_that_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbered as engine processes number them: by CUDA_VISIBLE_DEVICES, where that is set."""
    gpus = tuple(Gpu(number, "Card", 0, 24 * 10**9, 0, f"GPU-{number}") for number in range(3))
    monkeypatch.setattr(device, "read_gpus", lambda: gpus)
    auto = Engine.model_validate({"devices": "auto"})

    assert devices_of(Engine(device="cuda:1")) == ("cuda:1",)
    assert devices_of(Engine(devices=("cpu", "cpu"))) == ("cpu", "cpu")
    assert devices_of(auto) == ("cuda:0", "cuda:1", "cuda:2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    assert devices_of(auto) == ("cuda:0", "cuda:1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices_of(auto) == ("auto",)


def test_gpus_that_cannot_be_counted_stop_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "read_gpus", lambda: ())
    auto = Engine.model_validate({"devices": "auto"})
    assert devices_of(auto) == ("auto",)
    monkeypatch.setattr(device, "driver_found", lambda: True)
    with pytest.raises(StartProblem, match="nvidia"):
        devices_of(auto)


def test_a_wished_for_cpu_is_told_even_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "read_gpus", lambda: (Gpu(0, "First", 0, 24 * 10**9, 0),))

    assert describe_device("cpu").startswith("cpu (")
    assert f"{os.cpu_count()} cores" in describe_device("cpu")


def test_the_memory_of_the_gpu_that_would_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = (Gpu(0, "First", 0, 24 * 10**9, 0), Gpu(1, "Second", 0, 80 * 10**9, 0))
    monkeypatch.setattr(device, "read_gpus", lambda: gpus)

    assert [memory_bytes(name) for name in ("auto", "cuda", "cuda:1")] == [24 * 10**9, 24 * 10**9, 80 * 10**9]
    assert [memory_bytes(name) for name in ("cpu", "mps", "cuda:2")] == [None, None, None]


@pytest.mark.parametrize(
    ("chosen", "seen"),
    [
        (None, [0, 1, 2]),
        ("2,0", [2, 0]),
        ("GPU-b, 0", [1, 0]),
        ("1,7,0", [1]),
        ("-1", []),
        ("", []),
    ],
)
def test_which_gpus_an_engine_sees_and_in_which_order(chosen: str | None, seen: list[int]) -> None:
    gpus = [Gpu(number, "", 0, 0, 0, f"GPU-{letter}-0123") for number, letter in enumerate("abc")]

    assert [gpu.index for gpu in visible(gpus, chosen)] == seen


def test_a_device_is_counted_among_the_visible_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = (Gpu(0, "First", 0, 24 * 10**9, 0), Gpu(1, "Second", 0, 80 * 10**9, 0))
    monkeypatch.setattr(device, "read_gpus", lambda: gpus)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")

    assert describe_device("auto") == "cuda (Second, 80 GB)"
    assert memory_bytes("cuda:0") == 80 * 10**9
    assert memory_bytes("cuda:1") is None


@pytest.mark.parametrize(
    ("capability", "refused"), [((8, 6), True), ((8, 9), False), ((9, 0), False), ((12, 0), False)]
)
def test_which_gpus_multiply_in_8_bits(
    capability: tuple[int, int], refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "read_gpus", lambda: (Gpu(0, "First", 0, 24 * 10**9, 0, capability=capability),))
    told = fp8_problem("auto")
    assert (told is not None) == refused
    assert not refused or str(told).endswith("the First has 8.6.")


@pytest.mark.parametrize(
    ("wanted", "driver", "told"), [("cpu", True, "cpu is none"), ("auto", True, None), ("auto", False, "is none")]
)
def test_other_devices_do_not_multiply_so(
    wanted: str, driver: bool, told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "read_gpus", lambda: ())
    monkeypatch.setattr(device, "driver_found", lambda: driver)
    found = fp8_problem(wanted)
    assert found is None if told is None else told in str(found)
