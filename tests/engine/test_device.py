"""Which device and which number formats, and what is copied there beside the steps."""

from __future__ import annotations

import pytest
import torch

from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.engine.device import (
    DtypeName,
    await_event,
    choose_compute_dtype,
    choose_device,
    choose_dtype,
    choose_vae_dtype,
    copy_stream,
    filled_beside,
    side_stream,
)
from tests.kit.cuda_streams import fake_streams

SDXL_PARAMETERS = 3_470_000_000
GIB = 2**30
F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16


@pytest.mark.parametrize(
    ("wanted", "cuda", "mps", "chosen"),
    [
        ("auto", True, False, "cuda:0"),
        ("auto", False, True, "mps"),
        ("auto", False, False, "cpu"),
        ("cpu", True, True, "cpu"),
        ("cuda", True, False, "cuda:0"),
        ("cuda:3", True, False, "cuda:3"),
    ],
)
def test_device(wanted: str, cuda: bool, mps: bool, chosen: str) -> None:
    assert str(choose_device(wanted, cuda=cuda, mps=mps)) == chosen


@pytest.mark.parametrize("wanted", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there(wanted: str) -> None:
    with pytest.raises(CheckpointProblem, match=wanted):
        choose_device(wanted, cuda=False, mps=False)


@pytest.mark.parametrize(
    ("wanted", "device", "free_gib", "chosen"),
    [
        ("auto", "cuda", 8, F16),
        ("auto", "mps", 8, F16),
        ("auto", "cpu", 64, F32),
        ("auto", "cpu", 22, BF16),
        ("float32", "cuda", 8, F32),
        ("bfloat16", "cuda", 8, BF16),
        ("float16", "cpu", 64, F16),
    ],
)
def test_dtype_of_full_size_models(wanted: DtypeName, device: str, free_gib: int, chosen: torch.dtype) -> None:
    found = choose_dtype(wanted, device, parameters=SDXL_PARAMETERS, free_host_bytes=free_gib * GIB)
    assert found is chosen


@pytest.mark.parametrize(
    ("dtype", "device", "force_upcast", "bfloat16_works", "chosen"),
    [
        (F16, "cuda", True, True, BF16),
        (F16, "cuda", True, False, F32),
        (F16, "cuda", False, True, F16),
        (F16, "mps", True, False, F32),
        (F32, "cuda", True, True, F32),
        (BF16, "cuda", True, True, BF16),
        (BF16, "cpu", True, False, F32),
    ],
)
def test_dtype_of_the_vae(
    dtype: torch.dtype, device: str, force_upcast: bool, bfloat16_works: bool, chosen: torch.dtype
) -> None:
    found = choose_vae_dtype(dtype, device, force_upcast=force_upcast, bfloat16_works=bfloat16_works)
    assert found is chosen


@pytest.mark.parametrize(
    ("dtype", "device", "bfloat16_works", "chosen"),
    [
        (F16, "cuda", True, F16),
        (BF16, "cpu", True, BF16),
        (BF16, "cpu", False, F32),
        (F16, "cpu", True, F32),
        (F32, "cpu", False, F32),
    ],
)
def test_dtype_of_the_arithmetic(dtype: torch.dtype, device: str, bfloat16_works: bool, chosen: torch.dtype) -> None:
    assert choose_compute_dtype(dtype, device, bfloat16_works=bfloat16_works) is chosen


def test_copies_run_beside_the_steps_and_nobody_waits_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """After what the memory's last owner still does with it; and it is not given away before they are done."""
    log = fake_streams(monkeypatch)
    target = torch.zeros(4)
    event = filled_beside(target, lambda there: log.append(f"copying {there.nbytes} bytes"))
    await_event(event, target.device)
    assert log == [
        "copies waits for steps",
        "on copies",
        "copying 16 bytes",
        "off copies",
        "copies uses 16 bytes",
        "event on copies",
        "steps waits for copies",
    ]


def test_a_model_is_there_when_it_was_copied_beside_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    log = fake_streams(monkeypatch)
    with side_stream(torch.device("cpu")):
        log.append("loading")
    assert log == ["on copies", "loading", "off copies", "host waits for copies"]


def test_without_cuda_a_copy_is_there_at_once() -> None:
    target = torch.zeros(4)

    def fill(there: torch.Tensor) -> None:
        there.fill_(1)

    assert filled_beside(target, fill) is None
    await_event(None, target.device)
    assert copy_stream(target.device) is None
    assert target.tolist() == [1, 1, 1, 1]
