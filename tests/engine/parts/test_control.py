"""ControlNets: the pictures of diffusers' own ControlNet pipelines, alone and with everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdxl_gateway.catalog.controls import open_control
from sdxl_gateway.config import DEMO_MODEL
from sdxl_gateway.config import Control as Section
from sdxl_gateway.core.errors import EngineFault
from sdxl_gateway.core.picture import Inputs, Picture
from sdxl_gateway.core.recipe import NO_BLEND, Control, Phase, Recipe, Task, control_role
from sdxl_gateway.engine import compile as compiling
from sdxl_gateway.engine import load
from sdxl_gateway.engine.compile import Denoisers
from sdxl_gateway.engine.models.controls import CONTROL
from sdxl_gateway.scheduling.batch_key import BatchKey
from tests.kit.control_folders import control_folder, control_model, union_folder, union_model
from tests.kit.control_reference import ControlReference
from tests.kit.engine import Studio, contrast, difference, mask, photo, recipe, studio
from tests.kit.engine_loras import admitted, blend, write_lora
from tests.kit.model_folders import inpainting_demo
from tests.kit.reference import Reference

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),
]

TASKS: dict[Task, dict[str, Any]] = {
    Task.TEXT_TO_IMAGE: {"steps": 4},
    Task.IMAGE_TO_IMAGE: {"steps": 5, "strength": 0.8},
    Task.INPAINT: {"steps": 5, "strength": 0.9},
}
WEIGHTS = (0.9, 0.6)


@dataclass(frozen=True)
class Shelf:
    """ControlNets in folders: their sections, their digests, and diffusers' models with the same weights."""

    sections: dict[str, Section]
    digests: dict[str, str]
    models: dict[str, Any]

    def control(self, name: str, weight: float = 0.9, **changes: Any) -> Control:
        mode = {"mode": 3} if name.startswith("union") else {}
        return Control(name, self.digests[name], weight, **(mode | changes))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    root = tmp_path_factory.mktemp("controls")
    folders = {
        "canny": control_folder(root / "canny", 1),
        "depth": control_folder(root / "depth", 2),
        "union": union_folder(root / "union", 3),
        "union2": union_folder(root / "union2", 4),
    }
    sections = {name: Section(path=str(folder)) for name, folder in folders.items()}
    digests = {name: open_control(name, section).digest for name, section in sections.items()}
    made = (control_model(1), control_model(2), union_model(3), union_model(4))
    return Shelf(sections, digests, dict(zip(digests.values(), made, strict=True)))


@pytest.fixture(scope="module")
def room(shelf: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    made = studio(tmp_path_factory.mktemp("data"), controls=shelf.sections)
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def theirs(shelf: Shelf) -> ControlReference:
    return ControlReference(Reference(DEMO_MODEL), shelf.models)


@pytest.fixture(scope="module")
def lora(room: Studio, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    path = write_lora(tmp_path_factory.mktemp("loras") / "one.safetensors", room.folder, 1)
    return path, admitted(path, room.data_directory)


def shown(seed: int, width: int = 64, height: int = 64) -> Picture:
    """A control map: white lines on black, different for each seed."""
    rows = np.zeros((height, width, 3), np.uint8)
    drawn = np.random.default_rng(seed).integers(4, min(width, height) - 4, 3)
    rows[drawn, :] = 255
    rows[:, drawn[::-1]] = 200
    return Picture(width, height, "RGB", rows.tobytes())


def given(task: Task, controls: int, seed: int = 0, width: int = 64, height: int = 64) -> Inputs:
    pictures = {control_role(i): shown(seed + i, width, height) for i in range(controls)}
    if task is not Task.TEXT_TO_IMAGE:
        pictures["image"] = photo(width, height)
    if task is Task.INPAINT:
        pictures["mask"] = mask(width, height)
    return Inputs(pictures)


def wanted(task: Task, *controls: Control, **changes: Any) -> Recipe:
    return recipe(task=task, controls=controls, **(TASKS[task] | changes))


def check(room: Studio, theirs: ControlReference, one: Recipe, inputs: Inputs) -> None:
    ours, expected = room.paint(one, inputs), theirs.paint(one, inputs)
    assert contrast(expected) > 20
    assert difference(ours, room.paint(replace(one, controls=()), inputs)) > 5, "the controls are seen"
    assert difference(ours, expected) <= 1


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("names", [("canny",), ("canny", "depth"), ("canny", "canny")])
def test_the_picture_diffusers_paints(
    room: Studio, theirs: ControlReference, shelf: Shelf, task: Task, names: tuple[str, ...]
) -> None:
    controls = [shelf.control(name, weight) for name, weight in zip(names, WEIGHTS, strict=False)]
    check(room, theirs, wanted(task, *controls, negative_prompt="a green square"), given(task, len(names)))


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("names", [("union",), ("union", "union2"), ("union", "union")])
def test_a_union_of_controls(
    room: Studio, theirs: ControlReference, shelf: Shelf, task: Task, names: tuple[str, ...]
) -> None:
    modes = (3, 1)
    controls = [shelf.control(name, 0.8, mode=mode) for name, mode in zip(names, modes, strict=False)]
    check(room, theirs, wanted(task, *controls), given(task, len(names)))


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize(("start", "end"), [(0.0, 0.5), (0.3, 1.0), (0.25, 0.75), (0.21, 0.8)])
def test_start_and_end_inside_the_run(
    room: Studio, theirs: ControlReference, shelf: Shelf, task: Task, start: float, end: float
) -> None:
    check(room, theirs, wanted(task, shelf.control("canny", start=start, end=end)), given(task, 1))


@pytest.mark.parametrize("names", [("canny", "depth"), ("union", "union2")])
def test_two_controls_that_take_turns(
    room: Studio, theirs: ControlReference, shelf: Shelf, names: tuple[str, str]
) -> None:
    controls = shelf.control(names[0], end=0.6), shelf.control(names[1], start=0.4)
    check(room, theirs, wanted(Task.TEXT_TO_IMAGE, *controls, steps=5), given(Task.TEXT_TO_IMAGE, 2))


@pytest.mark.parametrize("changes", [{"guidance_scale": 1.0}, {"sampler": "dpmpp_2m"}, {"width": 96, "height": 64}])
def test_without_guidance_with_another_sampler_and_not_square(
    room: Studio, theirs: ControlReference, shelf: Shelf, changes: dict[str, Any]
) -> None:
    task, width = Task.TEXT_TO_IMAGE, changes.get("width", 64)
    check(room, theirs, wanted(task, shelf.control("canny"), **changes), given(task, 1, width=width))


def test_weight_zero_is_no_control(room: Studio, shelf: Shelf) -> None:
    one = wanted(Task.TEXT_TO_IMAGE, shelf.control("canny", 0.0))
    assert difference(room.paint(one, given(Task.TEXT_TO_IMAGE, 1)), room.paint(replace(one, controls=()))) == 0


@pytest.mark.parametrize("names", [("canny",), ("canny", "depth"), ("union",)])
@pytest.mark.parametrize("task", Task)
def test_with_a_blend_on(
    room: Studio, shelf: Shelf, lora: tuple[Path, str], task: Task, names: tuple[str, ...]
) -> None:
    """The blend changes the UNet, but no ControlNet."""
    path, digest = lora
    plain = Reference(DEMO_MODEL)
    plain.base.load_lora_weights(path)
    controls = [shelf.control(name) for name in names]
    one = wanted(task, *controls, blend=blend((digest, 1.0)))
    inputs = given(task, len(names))
    ours = room.paint(one, inputs)
    assert difference(ours, ControlReference(plain, shelf.models).paint(one, inputs)) <= 1
    assert difference(ours, room.paint(replace(one, blend=NO_BLEND), inputs)) > 5


def test_an_inpainting_unet(shelf: Shelf, tmp_path: Path) -> None:
    folder = inpainting_demo(tmp_path / "inpainting")
    room = studio(tmp_path / "data", folder, controls=shelf.sections)
    theirs = ControlReference(Reference(folder), shelf.models)
    check(room, theirs, wanted(Task.INPAINT, shelf.control("canny")), given(Task.INPAINT, 1))
    room.engine.close()


def four(shelf: Shelf, names: tuple[str, ...]) -> list[tuple[Recipe, Inputs]]:
    """One of each task, with different weights, maps and lengths; for a union each uses another kind of map."""
    kinds = [Task.TEXT_TO_IMAGE, Task.IMAGE_TO_IMAGE, Task.INPAINT, Task.TEXT_TO_IMAGE]
    weights, samplers = (1.0, 0.5, 0.8, 1.4), ("euler", "ddim", "euler", "dpmpp_2m")
    found = []
    for i, task in enumerate(kinds):
        controls = [shelf.control(name, weights[i]) for name in names]
        controls = [one if one.mode is None else replace(one, mode=i) for one in controls]
        one = wanted(task, *controls, seed=i, sampler=samplers[i], steps=TASKS[task]["steps"] + i % 2)
        found.append((one, given(task, len(names), seed=10 * i)))
    return found


@contextmanager
def passes(room: Studio, shelf: Shelf, name: str) -> Iterator[list[int]]:
    """The rows of each pass of a ControlNet."""
    rows: list[int] = []
    model = room.engine._pool.get(CONTROL, shelf.digests[name])
    hook = model.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    yield rows
    hook.remove()


@pytest.mark.parametrize("names", [("canny",), ("canny", "depth"), ("union",)])
@pytest.mark.parametrize("blended", [False, True])
def test_a_mixed_batch_of_four_takes_one_pass_a_step(
    room: Studio, shelf: Shelf, lora: tuple[Path, str], names: tuple[str, ...], blended: bool
) -> None:
    path, digest = lora
    plain = Reference(DEMO_MODEL)
    if blended:
        plain.base.load_lora_weights(path)
    theirs = ControlReference(plain, shelf.models)
    asked = [
        (replace(one, blend=blend((digest, 1.0)) if blended else NO_BLEND), inputs)
        for one, inputs in four(shelf, names)
    ]
    canvases = [room.engine.begin(one, 0, inputs) for one, inputs in asked]
    assert len({canvas.batch_key for canvas in canvases}) == 1
    with passes(room, shelf, names[0]) as rows:
        room.engine.step(canvases)
        assert rows == [8]
    while going := [canvas for canvas in canvases if canvas.steps_done < canvas.steps_total]:
        room.engine.step(going)
    for canvas, (one, inputs) in zip(canvases, asked, strict=True):
        assert difference(room.engine.finish(canvas).result(), theirs.paint(one, inputs)) <= 1


@pytest.mark.parametrize("names", [("canny", "depth"), ("union",)])
def test_a_cancelled_neighbour_leaves_no_trace(
    room: Studio, theirs: ControlReference, shelf: Shelf, names: tuple[str, ...]
) -> None:
    asked = four(shelf, names)
    canvases = [room.engine.begin(one, 0, inputs) for one, inputs in asked]
    room.engine.step(canvases)
    stayed = canvases[1:]
    while going := [canvas for canvas in stayed if canvas.steps_done < canvas.steps_total]:
        room.engine.step(going)
    for canvas, (one, inputs) in zip(stayed, asked[1:], strict=True):
        assert difference(room.engine.finish(canvas).result(), theirs.paint(one, inputs)) <= 1


def test_outside_its_window_a_canvas_shares_steps_with_those_without(room: Studio, shelf: Shelf) -> None:
    one = wanted(Task.TEXT_TO_IMAGE, shelf.control("canny", start=0.25, end=0.75))
    canvas = room.engine.begin(one, 0, given(Task.TEXT_TO_IMAGE, 1))
    plain = [room.engine.begin(recipe(steps=4), 0, Inputs()) for _ in range(4)]
    together = []
    with passes(room, shelf, "canny") as rows:
        for step in range(4):
            together.append(canvas.batch_key == plain[step].batch_key)
            assert together[-1] == (BatchKey.of(one, step) == BatchKey.of(plain[step].recipe, 0))
            room.engine.step([canvas, plain[step]] if together[-1] else [canvas])
    assert together == [True, False, False, True]
    assert rows == [2, 2]
    assert difference(room.engine.finish(canvas).result(), room.paint(one, given(Task.TEXT_TO_IMAGE, 1))) <= 1


def test_other_controls_or_another_order_share_no_step(room: Studio, shelf: Shelf) -> None:
    canny, depth = shelf.control("canny"), shelf.control("depth")
    sets = [(), (canny,), (depth,), (canny, depth), (depth, canny)]
    asked = [wanted(Task.TEXT_TO_IMAGE, *controls) for controls in sets]
    canvases = [room.engine.begin(one, 0, given(Task.TEXT_TO_IMAGE, 2)) for one in asked]
    assert len({canvas.batch_key for canvas in canvases}) == len({BatchKey.of(one, 0) for one in asked}) == len(sets)


def test_a_later_phase_is_not_controlled(room: Studio, shelf: Shelf) -> None:
    """Start and end are fractions of all steps, as in diffusers' pipeline with `denoising_end`."""
    later = Phase("demo", "another", NO_BLEND, from_step=2)
    one = wanted(Task.TEXT_TO_IMAGE, shelf.control("canny", end=0.5), steps=6, later_phases=(later,))
    assert [one.controls_at(step) for step in range(6)] == [(0,), (0,), (), (), (), ()]
    assert [one.controls_at(step, 4) for step in range(4)] == [(0,), (0,), (), ()]
    with passes(room, shelf, "canny") as rows:
        room.paint(one, given(Task.TEXT_TO_IMAGE, 1))
    assert rows == [2, 2]


def test_a_preview_is_made_of_a_controlled_canvas(room: Studio, shelf: Shelf) -> None:
    one = wanted(Task.TEXT_TO_IMAGE, shelf.control("canny"))
    canvas = room.engine.begin(one, 0, given(Task.TEXT_TO_IMAGE, 1))
    room.engine.step([canvas])
    assert contrast(room.engine.preview(canvas).result()) > 0


def test_a_map_that_is_missing_is_the_servers_fault(room: Studio, shelf: Shelf) -> None:
    with pytest.raises(EngineFault):
        room.engine.begin(wanted(Task.TEXT_TO_IMAGE, shelf.control("canny")), 0, Inputs())


def test_a_compiled_unet_is_left_as_it_is(
    room: Studio, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = []

    def compiler(module: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
        graphs.append(module)
        return module.forward

    monkeypatch.setattr(load, "Denoisers", partial(Denoisers, backend=compiler))
    monkeypatch.setattr(compiling, "BUCKET_ORDER", (2,))
    fast = studio(tmp_path, controls=shelf.sections, compiled_sizes=("64x64",), max_lanes=1)
    compiled = len(graphs)
    one, inputs = wanted(Task.TEXT_TO_IMAGE, shelf.control("canny", end=0.5)), given(Task.TEXT_TO_IMAGE, 1)
    assert difference(fast.paint(one, inputs), room.paint(one, inputs)) <= 1
    assert len(graphs) == compiled > 0
    fast.engine.close()
