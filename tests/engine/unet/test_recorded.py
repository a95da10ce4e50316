"""Recordings use memory of their own, follow the current code, and take no more room than there is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sdxl_gateway.engine.memory.ledger import VRAM, Ledger
from sdxl_gateway.engine.quiet import quiet
from sdxl_gateway.engine.unet.calls import Call
from sdxl_gateway.engine.unet.recorded import CALLS_BEFORE, MOST, Recorded, Recordings, Tape
from tests.kit.recorders import FakeRecorder

ROOMY = 2**30


def call_of(value: float, rows: int = 2, side: int = 8) -> Call:
    found = Call.of(torch.full((rows, 4, side, side), value), torch.full((rows,), value), {"return_dict": False})
    assert found is not None
    return found


def doubled(call: Call) -> Tensor:
    """Stands for a UNet's work."""
    return call.made(lambda sample, timesteps, **_: (sample + timesteps[:, None, None, None],))


def one_code(*_: Any) -> None:
    """Stands for compiled code."""


def recordings(recorder: FakeRecorder, vram: int | None = ROOMY) -> tuple[Recordings, Ledger]:
    ledger = Ledger({VRAM: vram})
    return Recordings(Tape(recorder, ledger)), ledger


def settled(made: Recordings, call: Call, code: Callable[..., Any] | None = None) -> Recorded | None:
    """The recording, after the calls that precede one."""
    for _ in range(CALLS_BEFORE):
        assert made.of(call, code, doubled) is None
    return made.of(call, code, doubled)


def test_a_call_that_comes_again_is_recorded_once() -> None:
    recorder = FakeRecorder()
    made, _ = recordings(recorder)
    found = settled(made, call_of(1.0))
    assert found is not None
    assert made.of(call_of(2.0), None, doubled) is found
    assert settled(made, call_of(1.0, rows=4)) is not found
    assert recorder.tried == 2


def test_what_is_given_outlives_the_next_replay() -> None:
    made, _ = recordings(FakeRecorder())
    two, four = settled(made, call_of(0.0)), settled(made, call_of(0.0, rows=4))
    assert two is not None
    assert four is not None
    given = [two(call_of(1.0)), four(call_of(2.0, rows=4)), two(call_of(3.0))]
    assert [set(tensor.flatten().tolist()) for tensor in given] == [{2.0}, {4.0}, {6.0}]
    assert [len(tensor) for tensor in given] == [2, 4, 2]


# torch's constructor is untyped.
class Issued(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Names of the operations issued."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_a_replay_copies_in_and_out_and_allocates_nothing_else() -> None:
    made, _ = recordings(FakeRecorder())
    found = settled(made, call_of(0.0))
    assert found is not None
    addresses = [tensor.data_ptr() for tensor in (*found.inputs.tensors, found.recording.output)]
    call = call_of(1.0)
    found.recording.__dict__["replay"] = lambda: None
    with torch.inference_mode(), Issued() as issued:
        found(call)
    assert issued.names == ["_foreach_copy_", "clone"]
    assert addresses == [tensor.data_ptr() for tensor in (*found.inputs.tensors, found.recording.output)]


def test_other_code_is_recorded_anew_once_nothing_disturbs() -> None:
    recorder = FakeRecorder()
    made, _ = recordings(recorder)
    plain = settled(made, call_of(0.0))
    with quiet.disturbed():
        assert made.of(call_of(0.0), one_code, doubled) is plain
    compiled = made.of(call_of(0.0), one_code, doubled)
    assert compiled is not None
    assert compiled.code is one_code
    assert made.of(call_of(0.0), one_code, doubled) is compiled
    assert recorder.tried == 2


def test_their_memory_is_on_the_ledger() -> None:
    made, ledger = recordings(FakeRecorder(growth_bytes=1000))
    ledger.hold(VRAM, "adapter", 50)
    rows = (1, 2, 1)
    found = [settled(made, call_of(0.0, rows=each, side=8 + place)) for place, each in enumerate(rows)]
    reads = [one.inputs.tensors[0].untyped_storage() for one in found if one]
    assert [storage.data_ptr() == reads[-1].data_ptr() for storage in reads] == [False, True, True]
    assert ledger.held_bytes(VRAM) == 3050 + sum(storage.nbytes() for storage in reads[:2])
    assert ledger.holds(VRAM, "adapter")


def test_without_room_calls_are_made_as_they_are() -> None:
    recorder = FakeRecorder()
    made, ledger = recordings(recorder, vram=call_of(0.0).work_bytes - 1)
    for _ in range(2 * CALLS_BEFORE):
        assert made.of(call_of(0.0), None, doubled) is None
    assert recorder.tried == 0
    assert ledger.held_bytes(VRAM) == 0


def test_a_recording_that_turns_out_too_large_is_let_go() -> None:
    recorder = FakeRecorder(growth_bytes=2 * ROOMY)
    made, _ = recordings(recorder)
    assert settled(made, call_of(0.0)) is None
    assert made.of(call_of(0.0), None, doubled) is None
    assert recorder.tried == 1


def test_a_call_that_runs_out_of_memory_is_not_tried_again_and_others_are() -> None:
    recorder = FakeRecorder(fault=torch.OutOfMemoryError("no room"))
    made, _ = recordings(recorder)
    assert settled(made, call_of(0.0)) is None
    recorder.fault = None
    assert made.of(call_of(0.0), None, doubled) is None
    assert settled(made, call_of(0.0, rows=1)) is not None


def test_a_device_that_does_not_record_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    recorder = FakeRecorder(fault=RuntimeError("operation not permitted when stream is capturing"))
    made, _ = recordings(recorder)
    with caplog.at_level(logging.WARNING):
        for rows in (1, 2, 4):
            for _ in range(2 * CALLS_BEFORE):
                assert made.of(call_of(0.0, rows=rows), None, doubled) is None
    assert recorder.tried == len(caplog.records) == 1


def test_those_used_least_recently_go_first() -> None:
    recorder = FakeRecorder()
    made, _ = recordings(recorder)
    first, second = settled(made, call_of(0.0, side=8)), settled(made, call_of(0.0, side=9))
    for side in range(10, 8 + MOST):
        settled(made, call_of(0.0, side=side))
    assert made.of(call_of(0.0, side=8), None, doubled) is first
    settled(made, call_of(0.0, side=8 + MOST))
    assert made.of(call_of(0.0, side=8), None, doubled) is first
    again = made.of(call_of(0.0, side=9), None, doubled)
    assert again is not second


def test_of_weights_that_leave_nothing_is_kept() -> None:
    made, _ = recordings(FakeRecorder())
    before = settled(made, call_of(0.0))
    made.close()
    assert made.of(call_of(0.0), None, doubled) is not before
