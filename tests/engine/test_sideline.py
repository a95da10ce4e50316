"""Pictures are decoded beside the steps, and the engine measures the device's own time: in virtual time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from sdxl_gateway.catalog.model_files import UNET
from sdxl_gateway.config import Checkpoint
from sdxl_gateway.core.errors import Cancelled, NotFinite, Unavailable
from sdxl_gateway.core.events import (
    BlendSwitched,
    Failed,
    Finished,
    JobEvent,
    Measurement,
    Painted,
    Previewed,
    Progressed,
    StageTimed,
    StepTaken,
)
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.core.ports import DeviceLost
from sdxl_gateway.core.recipe import Blend, BlendPart, Recipe
from sdxl_gateway.engine import sideline
from sdxl_gateway.engine.canvas import Canvas
from sdxl_gateway.engine.engine import DiffusionEngine
from sdxl_gateway.engine.load import open_pool, stages_of
from sdxl_gateway.engine.models.placement import Placement
from sdxl_gateway.engine.sideline import Sideline
from sdxl_gateway.ipc.messages import Cancel, Stop, Submit
from sdxl_gateway.scheduling.costs import Costs
from sdxl_gateway.scheduling.weight_sizes import Mode
from sdxl_gateway.worker.loop import Loop
from tests.kit.engine import Studio, difference, process_settings, recipe
from tests.kit.engine_loras import admitted, write_lora
from tests.kit.virtual_device import VirtualCommands, VirtualDevice, Work

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STEP, DECODE, SWITCH = 0.6, 1.0, 0.15
"""Seconds on a small GPU."""
LAUNCH = 0.045
"""Seconds of the host, for a step."""
WITHIN = LAUNCH + 1e-9

_numbers = count()


class House:
    """The loop and the engine on a device in virtual time; `own_stream` as if there were memory for one."""

    def __init__(self, data_directory: Path, *, own_stream: bool = True) -> None:
        self.device = VirtualDevice()
        self.measured: list[Measurement] = []
        self.events: list[JobEvent] = []
        config = process_settings(data_directory, {"demo": Checkpoint(path="demo")})
        self.pool = open_pool(config, torch.device("cpu"), self.measured.append, self.device.mark)
        side = Sideline(self.device.beside if own_stream else nullcontext, threaded=True)
        self.engine = DiffusionEngine(self.pool, stages_of(self.pool), self.measured.append, side)
        self.commands = VirtualCommands(self.device)
        clock = self.device.clock
        self.loop: Loop[Canvas] = Loop(self.engine, self.commands, self.events.append, costs=Costs(), clock=clock)
        loaded = self.pool.checkpoint("demo")
        self.checkpoint = loaded.checkpoint
        self.slow_down(self.checkpoint.unet, "forward", "step", LAUNCH, STEP)
        self.slow_down(self.checkpoint.vae, "decode", "decode", 0.003, DECODE)
        self.slow_down(loaded.switcher._writers[(UNET,)], "write", "switch", 0.01, SWITCH)

    def slow_down(self, owner: Any, method: str, what: str, launch: float, seconds: float) -> None:
        setattr(owner, method, self.device.charging(what, getattr(owner, method), launch, seconds))

    def submit(self, wanted: Recipe, partial_images: int = 0) -> str:
        one = Job(f"job-{next(_numbers)}", wanted, partial_images=partial_images)
        self.commands.put(Submit(one))
        return one.id

    def until(self, done: Callable[[], bool]) -> None:
        for _ in range(200):
            if done():
                return
            assert self.loop.advance()
        pytest.fail(f"still not done: {self.events}")

    def run(self, *jobs: str) -> None:
        self.until(lambda: self.ends().keys() >= set(jobs))
        self.engine.close()

    def ends(self) -> dict[str, JobEvent]:
        return {event.job_id: event for event in self.events if isinstance(event, Finished | Failed)}

    def told(self, job_id: str) -> list[type[JobEvent]]:
        return [type(event) for event in self.events if event.job_id == job_id]

    def picture(self, job_id: str) -> Picture:
        (found,) = [one.picture for one in self.events if isinstance(one, Painted) and one.job_id == job_id]
        return found

    def given(self, what: str) -> list[Work]:
        return [work for work in self.device.given if work.what == what]


@pytest.mark.parametrize("own_stream", [True, False])
def test_the_next_step_is_there_before_the_decode_ends(tmp_path: Path, demo: Studio, own_stream: bool) -> None:
    house = House(tmp_path, own_stream=own_stream)
    wanted = recipe(seed=1, steps=2), recipe(seed=2, steps=7)
    first, second = [house.submit(one) for one in wanted]
    house.run(first, second)
    decode = house.given("decode")[0]
    beside = [step for step in house.given("step")[2:] if step.issued < decode.ends]
    assert len(beside) >= 2
    assert (beside[0].begins < decode.ends) == own_stream
    for job_id, one in zip((first, second), wanted, strict=True):
        assert difference(house.picture(job_id), demo.paint(one)) <= 1


def test_who_waits_for_the_device(tmp_path: Path) -> None:
    """A separate thread, once for each picture and preview; the loop's thread only for the step before."""
    house = House(tmp_path)
    house.run(house.submit(recipe(steps=4), partial_images=1), house.submit(recipe(steps=6, seed=9)))
    waits = Counter(name.split("_")[0] for name in house.device.waits)
    assert waits == {"finishing": 2 + 1, "MainThread": len(house.given("step")) - 1}


def test_the_device_is_never_idle_between_steps_because_of_a_picture(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.run(house.submit(recipe(steps=2), partial_images=1), house.submit(recipe(steps=8, seed=9)))
    steps = house.given("step")
    assert all(after.begins == before.ends for before, after in pairwise(steps))


def test_times_are_the_devices_own(tmp_path: Path, demo: Studio) -> None:
    house = House(tmp_path)
    digest = admitted(write_lora(tmp_path / "a.safetensors", demo.folder, 1, text=False), tmp_path)
    blend = Blend.of([BlendPart(digest, 1.0, 0.0)])
    house.run(house.submit(recipe(steps=4, blend=blend)), house.submit(recipe(steps=9)), house.submit(recipe(steps=2)))
    steps = [told.seconds for told in house.measured if isinstance(told, StepTaken)]
    assert len(steps) == len(house.given("step"))
    assert all(abs(seconds - STEP) <= WITHIN for seconds in steps), steps
    switches = [told.seconds for told in house.measured if isinstance(told, BlendSwitched) and told.seconds > 0]
    assert switches
    assert all(abs(seconds - SWITCH) <= WITHIN for seconds in switches), switches
    decodes = [told.seconds for told in house.measured if isinstance(told, StageTimed) and told.stage == "decode"]
    assert len(decodes) == 3
    assert all(abs(seconds - DECODE) <= WITHIN for seconds in decodes), decodes


def test_a_look_comes_before_the_picture_and_after_its_step(tmp_path: Path) -> None:
    house = House(tmp_path)
    one = house.submit(recipe(steps=4), partial_images=2)
    house.run(one)
    told = house.told(one)
    assert Counter(told)[Previewed] == 2
    assert told[-2:] == [Painted, Finished]
    assert told.index(Previewed) > told.index(Progressed)


def test_a_picture_nobody_wants_any_more_is_let_go(tmp_path: Path) -> None:
    house = House(tmp_path)
    gone, other = house.submit(recipe(steps=1)), house.submit(recipe(steps=6, seed=9))
    house.until(lambda: bool(house.given("decode")))
    house.commands.put(Cancel(gone))
    house.run(gone, other)
    end = house.ends()[gone]
    assert isinstance(end, Failed)
    assert isinstance(end.error, Cancelled)
    assert Painted not in house.told(gone)
    assert house.told(other)[-2:] == [Painted, Finished]
    assert not house.pool._pinned


def test_a_broken_picture_is_its_own_jobs_affair(tmp_path: Path) -> None:
    house = House(tmp_path)
    decode, broken = house.checkpoint.vae.decode, iter([True])
    house.checkpoint.vae.decode = lambda latents, **named: (
        decode(latents, **named)[0] * (1e40 if next(broken, 0) else 1),
    )
    bad, good = house.submit(recipe(steps=1)), house.submit(recipe(steps=4, seed=9))
    house.run(bad, good)
    end = house.ends()[bad]
    assert isinstance(end, Failed)
    assert isinstance(end.error, NotFinite)
    assert isinstance(house.ends()[good], Finished)


def test_a_device_lost_while_a_picture_comes_ends_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path)
    one = house.submit(recipe(steps=1))
    house.until(lambda: bool(house.given("decode")))
    monkeypatch.setattr(house.device, "fails", torch.AcceleratorError("CUDA error: an illegal memory access"))
    with pytest.raises(DeviceLost):
        house.until(lambda: False)
    end = house.ends()[one]
    assert isinstance(end, Failed)
    assert isinstance(end.error, Unavailable)
    house.engine.close()


def test_a_stop_does_not_wait_for_a_picture(tmp_path: Path) -> None:
    house = House(tmp_path)
    one = house.submit(recipe(steps=1))
    house.until(lambda: bool(house.given("decode")))
    house.commands.put(Stop())
    house.loop.run()
    assert house.told(one)[-1] is Failed
    house.device.idle()
    house.engine.close()


def test_a_loop_that_waits_for_a_picture_is_not_at_rest(tmp_path: Path) -> None:
    house = House(tmp_path)
    one = house.submit(recipe(steps=1))
    house.until(lambda: bool(house.given("decode")))
    before = house.loop.age_seconds()
    house.device.now += 0.5
    assert house.loop.age_seconds() == pytest.approx(before + 0.5)
    house.run(one)
    assert house.loop.age_seconds() == 0.0


@pytest.mark.parametrize(
    ("device", "mode", "beside", "threaded"),
    [
        ("cpu", "fast", True, False),
        ("mps", "fast", True, False),
        ("cuda", "balanced", True, False),
        ("cuda", "fast", False, True),
        ("cuda", "fast", True, True),
    ],
)
def test_where_there_is_what(
    monkeypatch: pytest.MonkeyPatch, device: str, mode: Mode, beside: bool, threaded: bool
) -> None:
    streams: list[torch.device] = []
    monkeypatch.setattr(sideline, "stream_beside", streams.append)
    plain = Placement.everything_on(torch.device("cpu"))
    placement = replace(plain, device=torch.device(device), mode=mode, decodes_beside=beside)
    made = Sideline.of(placement)
    assert (made._thread is not None) == threaded
    assert bool(streams) == (threaded and beside)
    made.close()


def test_a_stream_beside_begins_after_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[object] = []

    class Stream:
        def __init__(self, device: torch.device, priority: int) -> None:
            said.append(("made", priority))

        def wait_stream(self, other: str) -> None:
            said.append(("after", other))

    @contextmanager
    def entered(stream: Stream) -> Iterator[None]:
        said.append("entered")
        yield
        said.append("left")

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", entered)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: "steps")
    beside = sideline.stream_beside(torch.device("cuda", 0))
    with beside():
        said.append("issued")
    assert said == [("made", -1), ("after", "steps"), "entered", "issued", "left"]
