"""A GPU that is too hot or too full: no step is taken until it is well again, nothing else stops, and it is told."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from types import ModuleType, SimpleNamespace

import pytest

from sdxl_gateway.backends.fake_engine import READY, FakeCanvas, FakeEngine
from sdxl_gateway.config import Guard
from sdxl_gateway.core.errors import DeadlineExceeded
from sdxl_gateway.core.events import Failed, Finished, Held, JobEvent, Progressed
from sdxl_gateway.engine_main import _reading
from sdxl_gateway.ipc.channel import ThreadEnd, pair
from sdxl_gateway.ipc.messages import Heartbeat, Hello, Message, Stop, Submit
from sdxl_gateway.scheduling.costs import Costs
from sdxl_gateway.worker.guard import MachineGuard, Reading
from sdxl_gateway.worker.loop import Commands, Loop, WakeUp
from sdxl_gateway.worker.serve import LoadedEngine, _run
from tests.kit.jobs import job

LIMITS = Guard(max_celsius=90, resume_celsius=5, max_memory_ratio=0.95, resume_memory_ratio=0.05)


def judged(limits: Guard, *readings: Reading | None) -> list[str | None]:
    """What is told of one reading after another."""
    told: list[Held] = []
    left = iter(readings)
    guard = MachineGuard(limits, lambda: next(left), told.append)
    for _ in readings:
        guard.look()
        assert guard.holds == bool(told and told[-1].reason)
    return [held.reason for held in told]


def test_it_is_held_above_the_limit_and_goes_on_well_under_it(caplog: pytest.LogCaptureFixture) -> None:
    heat = [Reading(celsius, 0.5) for celsius in (80, 90, 91, 92, 89, 86, 85, 89, 90, 91)]
    assert judged(LIMITS, *heat) == ["temperature", None, "temperature"]
    assert (
        caplog.messages[0]
        == "the GPU takes no steps, for its temperature: 91 degrees Celsius, 50% of its memory in use"
    )
    assert caplog.messages[1].startswith("the GPU goes on: 85 degrees")


def test_memory_likewise_and_one_after_the_other() -> None:
    assert judged(LIMITS, *(Reading(50, ratio) for ratio in (0.9, 0.96, 0.94, 0.91, 0.89, 0.94))) == ["memory", None]
    both = (Reading(95, 0.99), Reading(80, 0.99), Reading(80, 0.8))
    assert judged(LIMITS, *both) == ["temperature", "memory", None]


def test_a_limit_of_zero_and_a_driver_that_tells_nothing_hold_nobody() -> None:
    assert judged(Guard(max_celsius=0), Reading(120, 1.0)) == []
    assert judged(LIMITS, Reading(95, 0.5), None, None) == ["temperature", None]


def test_what_the_driver_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = ModuleType("pynvml")
    gpu = SimpleNamespace(memory=SimpleNamespace(used=95, total=100), celsius=91)
    told = {
        "NVMLError": OSError,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: gpu,
        "nvmlDeviceGetMemoryInfo": lambda handle: handle.memory,
        "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=50),
        "nvmlDeviceGetName": lambda handle: "H100",
        "nvmlDeviceGetUUID": lambda handle: "GPU-1",
        "nvmlDeviceGetCudaComputeCapability": lambda handle: (9, 0),
        "nvmlDeviceGetTemperature": lambda handle, sensor: handle.celsius,
    }
    for name, value in told.items():
        setattr(nvml, name, value)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert _reading("cuda:0") == Reading(91.0, 0.95)
    assert _reading("cuda:1") is None
    monkeypatch.setattr(nvml, "nvmlInit", _no_driver)
    assert _reading("cuda:0") is None


def _no_driver() -> None:
    raise OSError("no driver")


class HeldLoop:
    """A loop with a clock of its own, held from a given step on until `release`d."""

    def __init__(self, hold_after_steps: int) -> None:
        self.now = 0.0
        self.steps = 0
        self.hold_after_steps: float = hold_after_steps
        self.told: list[JobEvent] = []
        self.commands: Commands = SimpleQueue()
        self.loop: Loop[FakeCanvas] = Loop(
            FakeEngine(sleep=self._step),
            self.commands,
            self.told.append,
            costs=Costs(),
            held=lambda: self.steps >= self.hold_after_steps,
            clock=lambda: self.now,
        )

    def _step(self, seconds: float) -> None:
        self.now += seconds
        self.steps += 1

    def release(self) -> None:
        self.hold_after_steps = float("inf")
        self.commands.put(WakeUp())

    def until(self, true: Callable[[], bool]) -> None:
        for _ in range(1000):
            if true():
                return
            self.commands.put(WakeUp())
            self.loop.advance()
        raise AssertionError("it never came to that")

    @property
    def progress(self) -> int:
        return sum(isinstance(event, Progressed) for event in self.told)

    def ended(self, kind: type[JobEvent]) -> bool:
        return any(isinstance(event, kind) for event in self.told)


def test_no_step_is_taken_while_it_is_held_and_the_picture_is_painted_after() -> None:
    held = HeldLoop(hold_after_steps=2)
    held.commands.put(Submit(job("a")))
    held.until(lambda: held.steps == 2)
    for _ in range(20):
        held.commands.put(WakeUp())
        assert held.loop.advance()
    assert (held.steps, held.loop.age_seconds()) == (2, 0.0)
    held.commands.put(Submit(job("b")))
    held.until(lambda: held.loop.counts() == (1, 1))
    held.release()
    held.until(lambda: sum(isinstance(event, Finished) for event in held.told) == 2)


def test_whose_time_is_over_is_told_so_while_it_is_held() -> None:
    held = HeldLoop(hold_after_steps=0)
    held.commands.put(Submit(job("a", deadline=30.0)))
    held.until(lambda: held.loop.counts() == (0, 1))
    assert held.loop._patience() == 30.0
    held.now = 31.0
    held.until(lambda: held.ended(Failed))
    assert isinstance(held.told[-1], Failed)
    assert isinstance(held.told[-1].error, DeadlineExceeded)
    assert held.steps == 0


def test_an_engine_process_says_so_and_goes_on() -> None:
    """The real loop, heartbeat and guard around a fake engine, over a real channel."""
    ours, theirs = pair()
    end, other, celsius = ThreadEnd(ours), ThreadEnd(theirs), [99.0]
    opened = LoadedEngine(
        FakeEngine(), READY, 4, guard=Guard(every_seconds=0.01), read=lambda: Reading(celsius[0], 0.5)
    )
    engine = threading.Thread(target=_run, args=(other, opened, Costs()))
    engine.start()
    seen = _until(end, lambda said: isinstance(said, Held))
    end.send(Submit(job("a", arrived=time.time(), deadline=time.time() + 60)))
    held = _until(end, lambda said: isinstance(said, Heartbeat) and said.waiting == 1)
    assert not any(isinstance(said, Progressed) for said in (*seen, *held))
    celsius[0] = 60.0
    after = _until(end, lambda said: isinstance(said, Finished))
    assert [said.reason for said in (*seen, *held, *after) if isinstance(said, Held)] == ["temperature", None]
    end.send(Stop())
    engine.join(20)
    end.close()
    other.close()


def _until(end: ThreadEnd, true: Callable[[Message], bool]) -> list[Message]:
    seen: list[Message] = []
    while not (seen and true(seen[-1])):
        said = end.receive()
        assert said is not None
        assert not isinstance(said, Hello)
        seen.append(said)
    return seen
