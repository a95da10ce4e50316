"""A stage is one file and one line: made-up stages take part and are timed by name, without other changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from sdxl_gateway.core.errors import EngineFault
from sdxl_gateway.core.events import StageTimed
from sdxl_gateway.core.picture import NO_INPUTS, Picture
from sdxl_gateway.engine import load
from sdxl_gateway.engine.canvas import Canvas
from sdxl_gateway.engine.stages.stage import Stage, having
from tests.kit.engine import Studio, pixels, recipe, studio

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Opened = Callable[..., AbstractContextManager[Studio]]


class Double(Stage):
    """Doubles width and height."""

    name = "upscale"

    def finish(self, canvas: Canvas) -> None:
        assert canvas.picture is not None
        rows = pixels(canvas.picture).repeat(2, axis=0).repeat(2, axis=1)
        canvas.picture = Picture(rows.shape[1], rows.shape[0], "RGB", rows.tobytes())


class Warn(Stage):
    """Only has a beginning."""

    name = "warn"

    def begin(self, canvas: Canvas) -> None:
        canvas.warnings += ("mind",)


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """Opens engines with more stages at the end of the list, or with fewer."""

    @contextmanager
    def open_with(*more: Stage, leave_out: str = "") -> Iterator[Studio]:
        plain = load.stages_of
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(load, "stages_of", lambda *given: (*(s for s in plain(*given) if s.name != leave_out), *more))
            made = studio(tmp_path)
        yield made
        made.engine.close()

    return open_with


def test_an_upscaler_has_the_last_word_and_is_timed(opened: Opened, demo: Studio) -> None:
    plain = demo.paint(recipe())
    with opened(Double()) as doubled:
        large = doubled.paint(recipe())
        assert (large.width, large.height) == (2 * plain.width, 2 * plain.height)
        assert (pixels(large)[::2, ::2] == pixels(plain)).all()
        timed = [m.stage for m in doubled.told if isinstance(m, StageTimed)]
        assert timed == ["encode", "prepare", "decode", "upscale"]


def test_a_stage_that_only_begins_is_timed_then_alone(opened: Opened) -> None:
    with opened(Warn()) as warned:
        canvas = warned.engine.begin(recipe(steps=1), 0, NO_INPUTS)
        assert canvas.warnings == ("mind",)
        warned.engine.step([canvas])
        warned.engine.preview(canvas).result()
        warned.engine.finish(canvas).result()
        timed = [m.stage for m in warned.told if isinstance(m, StageTimed)]
        assert timed == ["encode", "prepare", "warn", "decode"]


def test_without_a_stage_that_makes_pictures_there_is_none(opened: Opened) -> None:
    with opened(leave_out="decode") as blind:
        canvas = blind.engine.begin(recipe(steps=1), 0, NO_INPUTS)
        blind.engine.step([canvas])
        for look in (blind.engine.preview, blind.engine.finish):
            with pytest.raises(EngineFault, match="No stage"):
                look(canvas)


def test_stages_are_asked_for_what_they_have() -> None:
    double, warn = Double(), Warn()
    assert having((double, warn), "begin") == (warn,)
    assert having((double, warn), "finish") == (double,)
    assert having((double, warn), "preview") == ()
