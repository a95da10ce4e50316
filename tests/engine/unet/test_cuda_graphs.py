"""Graphs on a CUDA device: `make test-gpu` runs this where there is one."""

from __future__ import annotations

import gc
from threading import Event, Thread

import pytest
import torch
from torch import Tensor, nn

from sdxl_gateway.engine.memory.ledger import VRAM, Ledger
from sdxl_gateway.engine.unet.calls import Call
from sdxl_gateway.engine.unet.cuda_graphs import CudaRecorder
from sdxl_gateway.engine.unet.recorded import CALLS_BEFORE, Recordings, Tape

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")

SIDE = 64


class Small(nn.Module):
    """Stands for a UNet in calls."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, sample: Tensor, timesteps: Tensor, **_: object) -> tuple[Tensor]:
        found: Tensor = self.layer(sample)
        return (found + timesteps[:, None, None, None],)


def call_of(rows: int) -> Call:
    sample, timesteps = torch.randn(rows, 4, SIDE, SIDE, device="cuda"), torch.randn(rows, device="cuda")
    found = Call.of(sample, timesteps, {"return_dict": False})
    assert found is not None
    return found


@pytest.fixture
def unet() -> Small:
    return Small().cuda().eval().requires_grad_(False)


@torch.inference_mode()
def test_recordings_read_what_is_given_and_the_weights_of_now(unet: Small) -> None:
    ledger = Ledger({VRAM: 2**30})
    recordings = Recordings(Tape(CudaRecorder(torch.device("cuda", 0)), ledger))
    for rows in (4, 1, 2):
        for _ in range(CALLS_BEFORE):
            call = call_of(rows)
            call.made(unet)
            assert recordings.of(call, None, lambda one: one.made(unet)) is None
        kept = []
        for factor in (1.0, 1.5, 0.5):
            with torch.inference_mode(False):
                unet.layer.weight.mul_(factor)
            call = call_of(rows)
            found = recordings.of(call, None, lambda one: one.made(unet))
            assert found is not None
            kept.append((found(call), call.made(unet)))
        assert all(torch.allclose(ours, theirs, atol=1e-5) for ours, theirs in kept)
    assert 0 < ledger.held_bytes(VRAM) < 2**30


@torch.inference_mode()
def test_other_threads_go_on_copying_and_allocating(unet: Small) -> None:
    over, rounds = Event(), []

    def copy() -> None:
        stream: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        with torch.cuda.stream(stream):
            while not over.is_set():
                rounds.append(torch.empty(2**20, pin_memory=True).to("cuda", non_blocking=True).numel())
                stream.synchronize()

    thread = Thread(target=copy)
    thread.start()
    try:
        recorder = CudaRecorder(torch.device("cuda", 0))
        for _ in range(20):
            call = call_of(2)
            expected = call.made(unet)
            recording = recorder.record(lambda call=call: call.made(unet))  # type: ignore[misc]
            recording.replay()
            assert torch.allclose(recording.output, expected, atol=1e-5)
    finally:
        over.set()
        thread.join()
    assert rounds


def test_work_that_fails_leaves_the_device_as_it_was(unet: Small) -> None:
    recorder = CudaRecorder(torch.device("cuda", 0))
    call = call_of(2)
    with pytest.raises(RuntimeError):
        recorder.record(lambda: call.made(unet) * float(call.tensors[0].sum()))
    with torch.inference_mode():
        recording = recorder.record(lambda: call.made(unet))
        recording.replay()
        assert torch.allclose(recording.output, call.made(unet), atol=1e-5)


@torch.inference_mode()
def test_when_all_recordings_are_gone_others_are_made(unet: Small) -> None:
    """As when a checkpoint is evicted and another is loaded."""
    recorder = CudaRecorder(torch.device("cuda", 0))
    for _ in range(3):
        call = call_of(2)
        recording = recorder.record(lambda call=call: call.made(unet))  # type: ignore[misc]
        recording.replay()
        assert torch.allclose(recording.output, call.made(unet), atol=1e-5)
        del recording
        gc.collect()
