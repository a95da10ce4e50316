"""The choice of device and number formats, and copies to the device beside the steps."""

from __future__ import annotations

import pytest
import torch

from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.engine import device as device_module
from sdxl_gateway.engine.device import (
    DtypeName,
    await_event,
    built_for,
    choose_compute_dtype,
    choose_device,
    choose_dtype,
    choose_threads,
    choose_vae_dtype,
    copy_stream,
    filled_beside,
    open_device,
    side_stream,
    sum_in_half,
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
    """They wait for the memory's previous user, and the memory is not reused before they are done."""
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


def no_cuda(monkeypatch: pytest.MonkeyPatch, *, driver: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(device_module, "driver_found", lambda: driver)

    def too_old() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).\nPlease update.")

    monkeypatch.setattr(torch.cuda, "init", too_old)


@pytest.mark.parametrize("wanted", ["auto", "cuda", "cuda:1"])
def test_a_gpu_that_torch_cannot_use_stops_the_start_with_torchs_reason(
    monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    no_cuda(monkeypatch, driver=True)
    with pytest.raises(CheckpointProblem, match=r"too old \(found version 11040\)\. engine\.device = 'cpu'") as caught:
        open_device(wanted, 1)
    assert "Please" not in str(caught.value)


def test_a_gpu_that_is_hidden_stops_the_start_too(monkeypatch: pytest.MonkeyPatch) -> None:
    no_cuda(monkeypatch, driver=True)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    with pytest.raises(CheckpointProblem, match="CUDA_VISIBLE_DEVICES"):
        open_device("auto", 1)


def test_the_cpu_is_taken_where_it_is_asked_for_or_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    no_cuda(monkeypatch, driver=True)
    assert open_device("cpu", 1).type == "cpu"
    no_cuda(monkeypatch, driver=False)
    assert open_device("auto", 1).type == "cpu"


@pytest.mark.parametrize(
    ("capability", "architectures", "found"),
    [
        ((7, 5), ["sm_75", "sm_80", "sm_90"], True),
        ((8, 6), ["sm_75", "sm_80"], True),
        ((8, 9), ["sm_80", "sm_86", "compute_90"], True),
        ((12, 0), ["sm_80", "sm_90", "compute_90"], True),
        ((12, 0), ["sm_90", "sm_100", "sm_120"], True),
        ((6, 1), ["sm_75", "sm_80", "compute_90"], False),
        ((8, 0), ["sm_86"], False),
        ((12, 0), ["sm_80", "sm_90"], False),
        ((9, 0), ["sm_90a"], False),
    ],
)
def test_cards_torch_has_code_for(capability: tuple[int, int], architectures: list[str], found: bool) -> None:
    assert built_for(capability, architectures) == found


def a_card(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> list[torch.device]:
    """One GPU of that compute capability; the devices that are made current."""
    current: list[torch.device] = []
    for name, value in {
        "is_available": True,
        "device_count": 1,
        "get_device_capability": capability,
        "get_device_name": "NVIDIA Museum Piece",
        "get_arch_list": ["sm_75", "sm_80", "compute_90"],
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    return current


def test_a_card_torch_has_no_code_for_is_named_with_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    current = a_card(monkeypatch, (6, 1))
    with pytest.raises(CheckpointProblem, match=r"Museum Piece .* 6\.1, .* sm_75, sm_80, compute_90"):
        open_device("auto", 1)
    assert current == []


def test_a_card_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    current = a_card(monkeypatch, (8, 9))
    assert [open_device("auto", 1)] == current == [torch.device("cuda", 0)]
    with pytest.raises(CheckpointProblem, match="torch sees 1 GPUs"):
        open_device("cuda:1", 1)


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_sums_in_half(device: str) -> None:
    plain = torch.backends.cuda.matmul.allow_fp16_accumulation
    sum_in_half(torch.device(device), True)
    assert torch.backends.cuda.matmul.allow_fp16_accumulation is (device == "cuda")
    sum_in_half(torch.device(device), False)
    assert torch.backends.cuda.matmul.allow_fp16_accumulation is plain is False


@pytest.mark.parametrize(
    ("device", "of_torch", "allowed", "chosen"),
    [("cpu", 8, 64, 8), ("cpu", 8, 2, 2), ("cuda", 32, 64, 4), ("cuda", 32, 2, 2), ("cuda", 1, 64, 1)],
)
def test_threads(device: str, of_torch: int, allowed: int, chosen: int) -> None:
    assert choose_threads(device, of_torch, allowed) == chosen


@pytest.mark.parametrize(
    ("device", "allowed", "engines", "chosen"),
    [("cpu", 2, 2, 1), ("cpu", 64, 2, 32), ("cpu", 1, 2, 1), ("cuda", 64, 8, 4), ("cuda", 16, 8, 2)],
)
def test_engines_of_one_machine_share_its_processors(device: str, allowed: int, engines: int, chosen: int) -> None:
    assert choose_threads(device, 64, allowed, engines) == chosen
