"""Models are loaded beside the step loop: no job waits for another's model, and the pictures stay the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Timer
from typing import Any

import pytest
import torch
from torch import nn

from sdxl_gateway.catalog.checkpoint_folder.scan import open_named
from sdxl_gateway.config import DEMO_MODEL, Checkpoint, CheckpointFolder, Memory
from sdxl_gateway.core.errors import (
    Cancelled,
    CheckpointProblem,
    DoesNotFit,
    EngineFault,
    GatewayError,
    ModelNotFound,
    StillLoading,
)
from sdxl_gateway.core.events import Failed, Finished, JobEvent, Measurement, ModelLoaded, Painted, Progressed
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.core.recipe import Phase, Recipe
from sdxl_gateway.engine.canvas import Canvas
from sdxl_gateway.engine.engine import DiffusionEngine
from sdxl_gateway.engine.load import open_pool, stages_of
from sdxl_gateway.engine.memory.ledger import HOST, VRAM
from sdxl_gateway.engine.models.loaders import CHECKPOINT, LoadedCheckpoint, Loader
from sdxl_gateway.ipc.messages import Cancel, Submit
from sdxl_gateway.scheduling.costs import Costs
from sdxl_gateway.worker.loop import Commands, Loop
from tests.kit.engine import Studio, difference, process_settings, recipe
from tests.kit.engine_loras import admitted, blend, write_lora
from tests.kit.model_folders import UNET_FILE, change_weights, copy_of_demo

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TIGHT = Memory(vram_budget_bytes=2**20)
"""Room for one checkpoint."""
SECONDS = 60.0
_numbers = count()


@dataclass
class GatedLoader:
    """Checkpoints whose loads finish, or fail, once the gate is open."""

    inner: Loader[LoadedCheckpoint]
    gate: Event = field(default_factory=Event)
    asked: Event = field(default_factory=Event)
    loads: list[str] = field(default_factory=list)
    problem: Exception | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return self.inner.names

    def wanted_by(self, recipe: Recipe) -> Any:
        return self.inner.wanted_by(recipe)

    def cost_bytes(self, name: str) -> int:
        return self.inner.cost_bytes(name)

    def load(self, name: str) -> LoadedCheckpoint:
        self.loads.append(name)
        self.asked.set()
        assert self.gate.wait(SECONDS), "the step loop waited for a model to load"
        if self.problem is not None:
            raise self.problem
        return self.inner.load(name)

    def unload(self, model: LoadedCheckpoint) -> None:
        self.inner.unload(model)


class Works:
    """A loop and an engine whose checkpoints, except for the first, are loaded through a gate."""

    def __init__(
        self,
        data_directory: Path,
        memory: Memory,
        measure: Measure = lambda _: None,
        *,
        load_wait_seconds: float = SECONDS,
        folder: Path = Path("checkpoints"),
    ) -> None:
        self.data_directory = data_directory
        sections = {name: Checkpoint(path="demo") for name in ("demo", "other", "third")}
        config = process_settings(data_directory, sections, load_wait_seconds=load_wait_seconds)
        changed = {"memory": memory, "checkpoint_folder": CheckpointFolder(directory=folder)}
        self.pool = open_pool(config.model_copy(update=changed), torch.device("cpu"), measure)
        self.loader = GatedLoader(self.pool.loaders[CHECKPOINT])
        self.pool.loaders[CHECKPOINT] = self.loader
        self.engine = DiffusionEngine(self.pool, stages_of(self.pool), lambda _: None)
        self.events: list[JobEvent] = []
        self.commands: Commands = SimpleQueue()
        self.loop: Loop[Canvas] = Loop(
            self.engine, self.commands, self.events.append, costs=Costs(), load_wait_seconds=load_wait_seconds
        )

    def submit(self, wanted: Recipe) -> str:
        one = Job(f"job-{next(_numbers)}", wanted, arrived=float(next(_numbers)))
        self.commands.put(Submit(one))
        return one.id

    def run_until(self, done: Callable[[], bool]) -> None:
        while not done():
            assert self.loop.advance()

    def finish(self, job_id: str) -> Picture:
        """Run until that job is painted; its picture."""
        assert isinstance(self.end(job_id), Finished), self.ends()[job_id]
        return self.picture(job_id)

    def end(self, job_id: str) -> JobEvent:
        """Run until that job has ended; its last event."""
        self.run_until(lambda: job_id in self.ends())
        return self.ends()[job_id]

    def picture(self, job_id: str) -> Picture:
        return next(event.picture for event in self.events if isinstance(event, Painted) and event.job_id == job_id)

    def error(self, job_id: str) -> Exception:
        """Run until that job has failed; its error."""
        end = self.end(job_id)
        assert isinstance(end, Failed)
        return end.error

    def ends(self) -> dict[str, JobEvent]:
        return {event.job_id: event for event in self.events if isinstance(event, Finished | Failed)}

    def steps(self, job_id: str) -> int:
        return sum(isinstance(event, Progressed) and event.job_id == job_id for event in self.events)

    def held(self) -> list[str]:
        """The checkpoints that are on the ledger."""
        return [key[1] for key in self.pool.ledger.keys(VRAM) if isinstance(key, tuple) and key[0] == CHECKPOINT]


@pytest.fixture
def works(tmp_path: Path) -> Iterator[Works]:
    yield from _opened(tmp_path, Memory(vram_budget_bytes=2**30))


@pytest.fixture
def tight(tmp_path: Path) -> Iterator[Works]:
    yield from _opened(tmp_path, TIGHT)


def _opened(data_directory: Path, memory: Memory) -> Iterator[Works]:
    made = Works(data_directory, memory)
    yield made
    made.loader.gate.set()
    made.engine.close()


def test_pictures_are_painted_while_another_checkpoint_is_loaded(works: Works, demo: Studio) -> None:
    running = works.submit(recipe(steps=8))
    works.run_until(lambda: works.steps(running) == 2)
    waiting = works.submit(recipe(checkpoint="other"))
    works.run_until(lambda: works.steps(running) == 3)
    assert works.loader.asked.wait(SECONDS)
    assert works.finish(running) == demo.paint(recipe(steps=8))
    newcomer = works.submit(recipe(seed=9))
    assert works.finish(newcomer) == demo.paint(recipe(seed=9))
    assert works.loader.loads == ["other"]
    assert works.steps(waiting) == 0
    works.loader.gate.set()
    assert works.finish(waiting) == demo.paint(recipe())
    assert works.held() == ["demo", "other"]


def test_jobs_that_want_the_same_checkpoint_share_one_load(works: Works, demo: Studio) -> None:
    jobs = [works.submit(recipe(checkpoint="other", seed=seed)) for seed in (1, 2, 3)]
    works.loader.gate.set()
    for one, seed in zip(jobs, (1, 2, 3), strict=True):
        assert difference(works.finish(one), demo.paint(recipe(seed=seed))) <= 1
    assert works.loader.loads == ["other"]


def test_a_checkpoint_whose_job_is_cancelled_amid_its_load_may_be_evicted(works: Works) -> None:
    gone = works.submit(recipe(checkpoint="other"))
    running = works.submit(recipe())
    works.run_until(lambda: works.steps(running) == 1)
    assert works.loader.asked.wait(SECONDS)
    works.commands.put(Cancel(gone))
    assert isinstance(works.error(gone), Cancelled)
    works.loader.gate.set()
    works.finish(works.submit(recipe(checkpoint="other")))
    assert works.loader.loads == ["other"]
    assert works.pool.ledger.pinned((CHECKPOINT, "other")), "it is the one in use"
    works.finish(works.submit(recipe()))
    assert not works.pool.ledger.pinned((CHECKPOINT, "other"))


def test_a_checkpoint_nobody_waits_for_any_more_is_not_loaded(works: Works) -> None:
    loading, gone = works.submit(recipe(checkpoint="other")), works.submit(recipe(checkpoint="third"))
    running = works.submit(recipe())
    works.run_until(lambda: works.steps(running) == 1)
    works.commands.put(Cancel(gone))
    assert isinstance(works.error(gone), Cancelled)
    works.loader.gate.set()
    works.finish(loading)
    works.finish(works.submit(recipe(checkpoint="third", steps=1)))
    assert works.loader.loads == ["other", "third"]


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (CheckpointProblem("'/secret/place' is broken"), EngineFault),
        (OSError("/secret/place"), EngineFault),
        (torch.OutOfMemoryError("secret"), DoesNotFit),
        (DoesNotFit("There is no room."), DoesNotFit),
    ],
)
def test_a_load_that_fails_ends_its_jobs_alone(
    works: Works, problem: Exception, told: type[GatewayError], caplog: pytest.LogCaptureFixture
) -> None:
    before = works.pool.ledger.bytes_by_tier()
    works.loader.problem = problem
    works.loader.gate.set()
    bad, good = works.submit(recipe(checkpoint="other")), works.submit(recipe())
    error = works.error(bad)
    assert type(error) is told
    assert "secret" not in str(error)
    works.finish(good)
    assert works.pool.ledger.bytes_by_tier() == before
    works.loader.problem = None
    works.finish(works.submit(recipe(checkpoint="other")))


def test_a_refused_adapter_loads_no_checkpoint(works: Works) -> None:
    works.loader.gate.set()
    broken = works.submit(recipe(checkpoint="other", blend=blend(("0" * 64, 1.0))))
    assert isinstance(works.error(broken), GatewayError)
    assert works.loader.loads == []


def test_checkpoints_that_leave_and_return_paint_the_same(tight: Works, demo: Studio) -> None:
    tight.loader.gate.set()
    path = write_lora(tight.data_directory / "a.safetensors", DEMO_MODEL, 1)
    on = blend((admitted(path, tight.data_directory), 0.8))
    admitted(path, demo.data_directory)
    plain, blended = demo.paint(recipe()), demo.paint(recipe(blend=on))
    for name in ("demo", "other", "demo", "third", "other"):
        assert tight.finish(tight.submit(recipe(checkpoint=name, blend=on))) == blended
        assert tight.finish(tight.submit(recipe(checkpoint=name))) == plain
        assert tight.held() == [name]
    assert tight.loader.loads == ["other", "demo", "third", "other"]


def test_a_checkpoint_that_has_no_room_yet_is_loaded_when_it_is_begun(tight: Works, demo: Studio) -> None:
    tight.loader.gate.set()
    first, second = tight.submit(recipe()), tight.submit(recipe(checkpoint="other"))
    assert tight.finish(second) == tight.finish(first) == demo.paint(recipe())
    assert tight.held() == ["other"]


def test_models_and_adapters_are_near_when_a_prefetch_is_done(works: Works) -> None:
    works.loader.gate.set()
    digest = admitted(write_lora(works.data_directory / "a.safetensors", DEMO_MODEL, 1), works.data_directory)
    wanted = recipe(checkpoint="other", blend=blend((digest, 1.0)))
    works.engine.prefetch(wanted).result(SECONDS)
    assert works.held() == ["demo", "other"]
    assert digest in works.pool.warm()[VRAM]
    works.engine.release(wanted)
    assert not works.pool.ledger.pinned((CHECKPOINT, "other"))


def test_what_every_phase_wants_is_near(works: Works) -> None:
    works.loader.gate.set()
    digest = admitted(write_lora(works.data_directory / "a.safetensors", DEMO_MODEL, 1), works.data_directory)
    later = Phase("other", "other", blend((digest, 1.0)), from_step=2)
    wanted = replace(recipe(), later_phases=(later, replace(later, checkpoint="third", from_step=3)))
    works.engine.prefetch(wanted).result(SECONDS)
    assert works.held() == ["demo", "other", "third"]
    assert all(works.pool.ledger.pinned((CHECKPOINT, name)) for name in works.held())
    assert digest in works.pool.warm()[VRAM]
    works.engine.release(wanted)
    assert not works.pool.ledger.pinned((CHECKPOINT, "third"))
    broken = replace(wanted, later_phases=(replace(later, checkpoint="elsewhere"),))
    with pytest.raises(ModelNotFound):
        works.engine.prefetch(broken).result(SECONDS)
    works.engine.release(broken)
    assert not works.pool.ledger.pinned((CHECKPOINT, "other"))


def test_a_release_without_a_prefetch_that_worked(works: Works) -> None:
    wanted = recipe(checkpoint="elsewhere")
    with pytest.raises(ModelNotFound):
        works.engine.prefetch(wanted).result(SECONDS)
    works.engine.release(wanted)
    assert works.loader.loads == []
    assert not works.pool.ledger.pinned((CHECKPOINT, "elsewhere"))


def test_closing_waits_for_the_load_at_work_and_starts_no_other(works: Works) -> None:
    loading, waiting = (works.engine.prefetch(recipe(checkpoint=name)) for name in ("other", "third"))
    assert works.loader.asked.wait(SECONDS)
    Timer(0.1, works.loader.gate.set).start()
    works.engine.close()
    assert loading.done()
    assert waiting.cancelled()
    assert works.loader.loads == ["other"]
    assert works.pool.ledger.keys(VRAM) == ()


def test_what_is_painted_next_has_room_before_what_only_waits(tight: Works, demo: Studio) -> None:
    """Waiting recipes keep their models loaded as long as nobody else needs the room."""
    tight.loader.gate.set()
    names = ("demo", "other", "demo", "third", "other")
    jobs = [tight.submit(recipe(checkpoint=name, seed=seed)) for seed, name in enumerate(names)]
    for seed, one in enumerate(jobs):
        assert difference(tight.finish(one), demo.paint(recipe(seed=seed))) <= 1
    assert not any(tight.pool.ledger.pinned((CHECKPOINT, name)) for name in {*names} - {*tight.held()})


def test_what_is_being_painted_stays(tight: Works) -> None:
    tight.loader.gate.set()
    running = tight.submit(recipe(steps=8))
    tight.run_until(lambda: tight.steps(running) == 1)
    with pytest.raises(DoesNotFit):
        tight.pool.get(CHECKPOINT, "other")
    tight.finish(running)
    assert tight.pool.get(CHECKPOINT, "other").checkpoint.name == "other"


def test_a_checkpoint_is_read_from_disk_once_and_then_copied(tmp_path: Path, demo: Studio) -> None:
    told: list[Measurement] = []
    made = Works(tmp_path, Memory(vram_budget_bytes=2**20, host_budget_bytes=2**30), told.append)
    made.loader.gate.set()
    path = write_lora(tmp_path / "a.safetensors", DEMO_MODEL, 1)
    on = blend((admitted(path, tmp_path), 0.8))
    admitted(path, demo.data_directory)
    plain, blended = demo.paint(recipe()), demo.paint(recipe(blend=on))
    for name in ("other", "third", "other", "demo", "third", "demo"):
        assert made.finish(made.submit(recipe(checkpoint=name, blend=on))) == blended
        assert made.finish(made.submit(recipe(checkpoint=name))) == plain
    loads = [(one.kind, one.source) for one in told if isinstance(one, ModelLoaded)]
    assert loads == [(CHECKPOINT, source) for source in ("disk", "disk", "host", "disk", "host", "host")]
    assert made.pool.tiers(CHECKPOINT) == {VRAM: ("demo",), HOST: ("other", "third", "demo")}
    made.engine.close()


def test_without_host_memory_it_is_read_each_time(tmp_path: Path) -> None:
    told: list[Measurement] = []
    made = Works(tmp_path, Memory(vram_budget_bytes=2**20, host_budget_bytes=0), told.append)
    made.loader.gate.set()
    for name in ("other", "demo", "other"):
        made.finish(made.submit(recipe(checkpoint=name, steps=1)))
    assert {one.source for one in told if isinstance(one, ModelLoaded)} == {"disk"}
    assert made.pool.tiers(CHECKPOINT) == {VRAM: ("other",), HOST: ()}
    made.engine.close()


def test_memory_is_told_when_a_model_is_there(works: Works) -> None:
    told: list[tuple[str, ...]] = []
    works.pool.on_load = lambda: told.append(works.pool.tiers(CHECKPOINT)[VRAM])
    works.loader.gate.set()
    works.engine.prefetch(recipe(checkpoint="other")).result(SECONDS)
    assert told == [("demo", "other")]


def test_a_load_takes_longer_than_one_waits_and_goes_on(tmp_path: Path, demo: Studio) -> None:
    """If there is room the loop stops waiting, or else the pool does; both times a later job has the model."""
    for memory in (Memory(vram_budget_bytes=2**30), TIGHT):
        made = Works(tmp_path, memory, load_wait_seconds=0.2)
        early = made.submit(recipe(checkpoint="other"))
        assert isinstance(made.error(early), StillLoading)
        assert made.loader.asked.wait(SECONDS)
        made.loader.gate.set()
        while isinstance(end := made.end(made.submit(recipe(checkpoint="other"))), Failed):
            assert isinstance(end.error, StillLoading)
        assert made.picture(end.job_id) == demo.paint(recipe())
        assert made.loader.loads == ["other"]
        made.engine.close()


def test_a_checkpoint_of_the_folder_is_painted_with_as_it_was_meant(tmp_path: Path, demo: Studio) -> None:
    root = tmp_path / "checkpoints"
    made = Works(tmp_path / "data", Memory(vram_budget_bytes=2**30), folder=root)
    made.loader.gate.set()
    copy_of_demo(root / "mine")
    first = recipe(checkpoint="mine", checkpoint_digest=open_named(root, "mine").digest)
    assert made.finish(made.submit(first)) == demo.paint(recipe())
    change_weights(root / "mine" / UNET_FILE, lambda tensors: tensors.update({k: v * 1.1 for k, v in tensors.items()}))
    second = replace(first, checkpoint_digest=open_named(root, "mine").digest)
    assert difference(made.finish(made.submit(second)), demo.paint(recipe())) > 5
    assert made.finish(made.submit(first)) == demo.paint(recipe()), "still there, and a model of its own"
    shutil.rmtree(root / "mine")
    assert made.finish(made.submit(second)) != demo.paint(recipe())
    gone = replace(first, checkpoint_digest="0" * 64)
    assert isinstance(made.error(made.submit(gone)), ModelNotFound)
    assert made.finish(made.submit(recipe())) == demo.paint(recipe())
    made.engine.close()


@dataclass
class ScaleLoader:
    """Another kind of model: a number, needed by recipes whose prompt contains its name."""

    names: tuple[str, ...] = ("half", "double")
    unloaded: list[nn.Module] = field(default_factory=list)

    def wanted_by(self, recipe: Recipe) -> list[str]:
        return [name for name in self.names if name in recipe.prompt]

    def cost_bytes(self, name: str) -> int:
        return 3 * 2**18

    def load(self, name: str) -> nn.Module:
        scale = nn.Linear(1, 1, bias=False)
        nn.init.constant_(scale.weight, {"half": 0.5, "double": 2.0}[name])
        return scale

    def unload(self, model: nn.Module) -> None:
        self.unloaded.append(model)


def test_another_kind_of_model_is_one_loader(tight: Works) -> None:
    """It shares the ledger with checkpoints, whatever it is."""
    scales = ScaleLoader()
    tight.pool.loaders["scale"] = scales
    half, double = recipe("at half the size"), recipe("double it")
    tight.engine.prefetch(half).result(SECONDS)
    tight.pool.begin(half)
    kept = tight.pool.get("scale", "half")
    assert kept(torch.ones(1)).item() == 0.5
    assert set(tight.pool.ledger.keys(VRAM)) == {(CHECKPOINT, "demo"), ("scale", "half")}

    tight.engine.prefetch(double).result(SECONDS)
    with pytest.raises(DoesNotFit):
        tight.pool.get("scale", "double")
    tight.engine.release(half)
    assert tight.pool.get("scale", "double")(torch.ones(1)).item() == 2.0
    assert scales.unloaded == [kept]
    assert set(tight.pool.ledger.keys(VRAM)) == {(CHECKPOINT, "demo"), ("scale", "double")}

    tight.loader.gate.set()
    tight.engine.release(double)
    tight.finish(tight.submit(recipe(checkpoint="other")))
    assert (CHECKPOINT, "other") in tight.pool.ledger.keys(VRAM)
    assert (CHECKPOINT, "demo") not in tight.pool.ledger.keys(VRAM)
