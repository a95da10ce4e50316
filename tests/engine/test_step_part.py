"""A step part is one file and one line: made-up parts take part in steps, without other changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any, Self

import pytest
import torch
from torch import Tensor

from sdxl_gateway.core.errors import EngineFault
from sdxl_gateway.core.events import Finished, JobEvent, StepTaken
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.picture import NO_INPUTS, Inputs, Picture
from sdxl_gateway.core.recipe import Recipe, Task
from sdxl_gateway.engine import load
from sdxl_gateway.engine.canvas import Canvas, PartFactory, StepPart, UNetCall, joined
from sdxl_gateway.ipc.messages import Submit
from sdxl_gateway.scheduling.costs import Costs
from sdxl_gateway.worker.loop import Commands, Loop
from tests.kit.engine import Studio, difference, mask, photo, pixels, recipe, studio

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CONTROL = "control:0"
Opened = Callable[..., AbstractContextManager[Studio]]


@dataclass(frozen=True, eq=False)
class Residual(StepPart):
    """Adds a picture's brightness, (rows, 1, 1, 1), in the middle of the UNet, where ControlNets add their residuals.

    The UNet takes such a residual only together with those of its `blocks` on the way down.
    """

    name: str
    residual: Tensor
    blocks: int

    @classmethod
    def begin(cls, canvas: Canvas) -> Self | None:
        picture = canvas.inputs.pictures.get(CONTROL)
        if picture is None:
            return None
        config = canvas.checkpoint.unet.config
        blocks = len(config.down_block_types) * (config.layers_per_block + 1)
        level = torch.full((1, 1, 1, 1), float(pixels(picture).mean()) / 25)
        return cls("brightness", level.expand(canvas.recipe.unet_rows, -1, -1, -1), blocks)

    @property
    def key(self) -> str:
        return self.name

    @classmethod
    def join(cls, parts: Sequence[Self], call: UNetCall) -> None:
        assert len(call.sample) == len(call.timesteps) == len(call.arguments["encoder_hidden_states"])
        call.arguments["mid_block_additional_residual"] = joined([part.residual for part in parts])
        call.arguments["down_block_additional_residuals"] = (torch.zeros(1),) * parts[0].blocks


class Loud(StepPart):
    """Follows each step of every canvas, for each canvas separately."""

    def __init__(self, canvas: Canvas) -> None:
        self.seen: list[int] = []

    def after_step(self, canvas: Canvas) -> None:
        self.seen.append(canvas.steps_done)
        if canvas.recipe.prompt == "fails":
            raise RuntimeError("a part failed")

    def combined(self, prediction: Tensor) -> Tensor:
        assert len(prediction) == 1, "guidance comes before it on the list"
        return prediction * 0.9

    def previewed(self, latents: Tensor) -> Tensor:
        return torch.zeros_like(latents)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Opens engines with one more part on the list."""

    @contextmanager
    def open_with(part: PartFactory, **engine: Any) -> Iterator[Studio]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(load, "PARTS", (*load.PARTS, part))
            made = studio(tmp_path_factory.mktemp("data"), **engine)
        yield made
        made.engine.close()

    return open_with


@pytest.fixture(scope="module")
def controlled(opened: Opened) -> Iterator[Studio]:
    with opened(Residual.begin) as made:
        yield made


def control(level: int) -> Inputs:
    return Inputs({CONTROL: Picture(8, 8, "L", bytes([level]) * 64)})


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
def test_what_it_adds_is_seen_in_the_picture_and_in_no_other(
    controlled: Studio, demo: Studio, guidance_scale: float
) -> None:
    wanted = recipe(guidance_scale=guidance_scale)
    plain = demo.paint(wanted)
    assert controlled.paint(wanted) == plain
    assert controlled.paint(wanted, control(0)) == plain
    assert difference(controlled.paint(wanted, control(200)), plain) > 5
    assert controlled.paint(wanted) == plain


def test_it_joins_once_for_a_batch_and_each_canvas_has_its_own(
    controlled: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [recipe(seed=seed) for seed in (1, 2, 3)]
    inputs = [control(level) for level in (50, 150, 250)]
    alone = [controlled.paint(one, given) for one, given in zip(wanted, inputs, strict=True)]
    sizes: list[int] = []
    plain = Residual.join

    def counting(_: type[Residual], parts: Sequence[Residual], call: UNetCall) -> None:
        sizes.append(len(parts))
        plain(parts, call)

    monkeypatch.setattr(Residual, "join", classmethod(counting))
    canvases = [controlled.engine.begin(one, 0, given) for one, given in zip(wanted, inputs, strict=True)]
    assert len({canvas.batch_key for canvas in canvases}) == 1
    while canvases[0].steps_done < canvases[0].steps_total:
        controlled.engine.step(canvases)
    assert sizes == [3, 3, 3]
    for canvas, picture in zip(canvases, alone, strict=True):
        assert difference(controlled.engine.finish(canvas).result(), picture) <= 1


def test_it_goes_with_todays_parts(controlled: Studio) -> None:
    wanted = recipe(task=Task.INPAINT, strength=0.8, steps=4)
    given: dict[str, Picture] = {"image": photo(), "mask": mask()}
    plain, more = (
        pixels(controlled.paint(wanted, Inputs(given | extra))).astype(int)
        for extra in ({}, dict(control(250).pictures))
    )
    left = slice(0, photo().width // 4)
    assert abs(plain - more).max() > 5
    assert abs(plain - more)[:, left].mean() < abs(plain - more).mean()


def test_canvases_of_other_keys_never_share_a_step(controlled: Studio) -> None:
    """Their recipes look alike to the scheduler, which plans them together; the loop steps them separately."""
    told: list[JobEvent] = []
    commands: Commands = SimpleQueue()
    loop = Loop(controlled.engine, commands, told.append, costs=Costs())
    jobs = [
        Job("plain", recipe(count=2)),
        Job("bright", recipe(count=2), control(200)),
    ]
    for job in jobs:
        commands.put(Submit(job))
    controlled.told.clear()
    while len([event for event in told if isinstance(event, Finished)]) < len(jobs):
        loop.advance()
    assert [m.lanes for m in controlled.told if isinstance(m, StepTaken)] == [2] * 2 * recipe().steps


def test_a_part_of_no_key_is_its_canvas_own_affair(opened: Opened, demo: Studio) -> None:
    with opened(Loud) as loud:
        canvas = loud.engine.begin(recipe(), 0, NO_INPUTS)
        assert canvas.batch_key == demo.engine.begin(recipe(), 0, NO_INPUTS).batch_key
        look = loud.engine.preview(canvas).result()
        while canvas.steps_done < canvas.steps_total:
            loud.engine.step([canvas])
            assert loud.engine.preview(canvas).result() == look
        assert next(part for part in canvas.parts if isinstance(part, Loud)).seen == [0, 1, 2]
        assert difference(loud.engine.finish(canvas).result(), demo.paint(recipe())) > 5


def test_a_part_that_fails_after_a_step_leaves_it_undone(opened: Opened) -> None:
    with opened(Loud) as loud:
        canvas = loud.engine.begin(recipe("fails"), 0, NO_INPUTS)
        for _ in range(2):
            with pytest.raises(EngineFault):
                loud.engine.step([canvas])
            assert canvas.steps_done == 0


def test_a_recipe_that_is_mistaken_about_the_unet_is_refused(demo: Studio) -> None:
    mistaken: Recipe = replace(recipe(), embeds_guidance=True)
    with pytest.raises(EngineFault, match="guidance"):
        demo.engine.begin(mistaken, 0, NO_INPUTS)
