"""What is behind the subject: the caller's word goes before the style's, and what cannot be had is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_gateway.admission.backgrounds import matte_digest, matte_warnings
from sdxl_gateway.admission.configured_names import problems
from sdxl_gateway.config import HouseStyle, Matting
from sdxl_gateway.core.ask import Ask, Operation
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.recipe import Background
from tests.kit.admission import admission_kit
from tests.kit.mattes import PartMatte
from tests.kit.recipes import recipe


@pytest.mark.parametrize(
    ("asked", "style", "output_format", "expected"),
    [
        (None, None, "png", "opaque"),
        (None, "opaque", "png", "opaque"),
        (None, "transparent", "png", "transparent"),
        (None, "transparent", "webp", "transparent"),
        (None, "transparent", "jpeg", "opaque"),
        ("opaque", "transparent", "png", "opaque"),
        ("transparent", None, "png", "transparent"),
        ("transparent", "opaque", "webp", "transparent"),
    ],
)
def test_the_rule(asked: Background | None, style: Background | None, output_format: str, expected: str) -> None:
    ask = Ask(Operation.GENERATE, "a cat", background=asked, output_format=output_format)
    digest = matte_digest(ask, HouseStyle(background=style), PartMatte())
    assert digest == (PartMatte.digest if expected == "transparent" else None)


@pytest.mark.parametrize(("asked", "style"), [("transparent", None), (None, "transparent")])
def test_without_a_matte_model_it_says_what_to_configure(asked: Background | None, style: Background | None) -> None:
    ask = Ask(Operation.GENERATE, "a cat", background=asked)
    with pytest.raises(InvalidRequest, match=r"\[matting\] path") as refused:
        matte_digest(ask, HouseStyle(background=style), None)
    assert refused.value.param == "background"


@pytest.mark.parametrize(("made_by", "replaced", "told"), [("d" * 64, True, 1), ("d" * 64, False, 0), (None, True, 0)])
def test_a_matte_model_that_is_another_on_disk_is_told(made_by: str | None, replaced: bool, told: int) -> None:
    assert len(matte_warnings(recipe(matte=made_by), PartMatte(replaced=replaced))) == told


@pytest.mark.parametrize(("path", "expected"), [(None, ["models.sticker.background"]), ("demo", [])])
def test_a_style_that_no_picture_can_follow_is_a_problem(tmp_path: Path, path: str | None, expected: list[str]) -> None:
    styles = {"sticker": HouseStyle(background="transparent"), "plain": HouseStyle(background="opaque")}
    home = admission_kit(tmp_path, models=styles, matting=Matting(path=path))
    found = problems(home.settings, home.checkpoints, home.adapters)
    assert [key for key, _ in found] == expected
