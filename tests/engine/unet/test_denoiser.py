"""Steps of the demo model whose calls are recorded, by a recorder that computes at each replay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from sdxl_gateway.core.picture import NO_INPUTS, Picture
from sdxl_gateway.core.recipe import NO_BLEND, Recipe
from sdxl_gateway.engine import load
from sdxl_gateway.engine.compile import Denoisers, Todo
from sdxl_gateway.engine.memory.ledger import VRAM, Ledger
from sdxl_gateway.engine.unet.recorded import Tape
from tests.kit.compilers import Compiler
from tests.kit.engine import Studio, difference, recipe, studio
from tests.kit.engine_loras import admitted, blend, write_lora
from tests.kit.model_folders import shallow_demo
from tests.kit.recorders import FakeRecorder

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE = "64x64"
BUCKETS = (1, 2, 4)
"""For two guided pictures together."""
WIDTHS = (64, 96)
"""Code is only compiled for the first."""


@pytest.fixture(scope="module")
def recorder() -> FakeRecorder:
    return FakeRecorder()


@pytest.fixture(scope="module")
def compiler() -> Compiler:
    return Compiler()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """An engine without compiled code and recordings, for comparison."""
    made = studio(tmp_path_factory.mktemp("plain"), shallow_demo(tmp_path_factory.mktemp("model") / "shallow"))
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def fast(
    recorder: FakeRecorder, compiler: Compiler, demo: Studio, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Studio]:
    """An engine that compiles for one size and records all calls."""

    def recording(todo: Todo, _: Tape | None) -> Denoisers:
        return Denoisers(todo, Tape(recorder, Ledger({VRAM: None})), compiler)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "Denoisers", recording)
        made = studio(tmp_path_factory.mktemp("fast"), demo.folder, compiled_sizes=(SIZE,), max_lanes=2)
    yield made
    made.engine.close()


def together(one: Studio, wanted: Recipe) -> list[Picture]:
    """All images of a recipe, sharing each step."""
    canvases = [one.engine.begin(wanted, index, NO_INPUTS) for index in range(wanted.count)]
    while canvases[0].steps_done < canvases[0].steps_total:
        one.engine.step(canvases)
    return one.finish(canvases)


def admitted_by(studios: Sequence[Studio], folder: Path) -> list[str]:
    """The digests of two LoRAs that both engines have."""
    paths = [write_lora(folder / f"{seed}.safetensors", studios[0].folder, seed, text=False) for seed in (1, 2)]
    return [admitted(path, one.data_directory) for one in studios for path in paths][: len(paths)]


def wishes(one: str, two: str) -> list[Recipe]:
    """With and without guidance, alone and together, with blends that come and go."""
    blends = (NO_BLEND, blend((one, 0.5), (two, -0.4)))
    return [
        recipe(width=width, guidance_scale=scale, count=count, blend=on)
        for width in WIDTHS
        for scale in (1.0, 4.0)
        for count in (1, 2, 3)
        for on in blends
    ]


def test_over_mixed_steps_and_switches_nothing_is_compiled_or_recorded_twice(
    fast: Studio, demo: Studio, recorder: FakeRecorder, compiler: Compiler, tmp_path: Path
) -> None:
    wanted = wishes(*admitted_by((fast, demo), tmp_path))
    for each in wanted:
        assert max(map(difference, together(fast, each), together(demo, each))) <= 1
    assert (compiler.graphs, recorder.tried) == (len(BUCKETS), len(BUCKETS) * len(WIDTHS))

    replays, steps = recorder.replays, 0
    for each in Random(0).choices(wanted, k=34):
        together(fast, each)
        steps += each.steps
    assert steps > 100
    assert recorder.replays >= replays + steps
    assert (compiler.graphs, recorder.tried) == (len(BUCKETS), len(BUCKETS) * len(WIDTHS))


@pytest.mark.parametrize("switches", [100, pytest.param(1000, marks=pytest.mark.full)])
def test_switches_leave_every_weight_where_it_was(fast: Studio, tmp_path: Path, switches: int) -> None:
    one, two = admitted_by((fast,), tmp_path)
    blends = [NO_BLEND, blend((one, 0.8)), blend((one, 0.2), (two, 1.0)), blend((two, 0.5))]
    loaded = fast.loaded()
    addresses = [parameter.data_ptr() for parameter in loaded.checkpoint.unet.parameters()]
    for number in range(switches):
        loaded.switcher.put_on_unet(blends[number % len(blends)])
    assert addresses == [parameter.data_ptr() for parameter in loaded.checkpoint.unet.parameters()]
    loaded.switcher.put_on_unet(NO_BLEND)


def recorded_on(demo: Studio, recorder: FakeRecorder) -> Denoisers:
    """The Denoisers of an engine that records and does not compile."""
    todo = Todo.of(demo.loaded().checkpoint, load.PARTS, (), lanes=1)
    return Denoisers(todo, Tape(recorder, Ledger({VRAM: None})))


def test_a_checkpoint_that_leaves_takes_its_recordings_along(demo: Studio) -> None:
    recorder = FakeRecorder()
    denoisers = recorded_on(demo, recorder)
    canvas = demo.engine.begin(recipe(steps=8), 0, NO_INPUTS)
    canvas.checkpoint = denoisers.attach(canvas.checkpoint)
    for _ in range(4):
        demo.engine.step([canvas])
    assert (recorder.tried, recorder.replays) == (1, 2)
    denoisers.detach(canvas.checkpoint)
    demo.engine.step([canvas])
    assert (recorder.tried, recorder.replays) == (2, 3)


def test_a_unet_that_is_streamed_to_the_device_is_called_as_it_is(demo: Studio) -> None:
    checkpoint = demo.loaded().checkpoint
    streamed = replace(checkpoint, placement=replace(checkpoint.placement, mode="low"))
    assert recorded_on(demo, FakeRecorder()).attach(streamed) is streamed
