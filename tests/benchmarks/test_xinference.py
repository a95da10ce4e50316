"""What Xinference is asked for, and what happens where it is not installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.painting import PROMPT, Order
from benchmarks.xinference import apart, asked, main


def test_a_blend_becomes_tags() -> None:
    body = asked(Order("demo+outline:0.5+sunset", seed=3, steps=8), guidance=1.0)

    assert body["model"] == "demo"
    assert body["prompt"] == f"{PROMPT}<lora:outline:0.5><lora:sunset:1.0>"
    assert (body["seed"], body["steps"], body["cfg_scale"]) == (3, 8, 1.0)


def test_pictures_are_as_far_apart_as_their_values() -> None:
    grey, lighter = Image.new("RGB", (4, 4), (9, 9, 9)), Image.new("RGB", (4, 4), (12, 9, 9))

    assert apart(grey, grey) == 0
    assert apart(grey, lighter) == pytest.approx(1)


@pytest.mark.parametrize("python", [sys.executable, "nowhere/python"])
def test_without_xinference_nothing_is_measured(python: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--python", python])

    assert capsys.readouterr().out == f"Nothing is measured: {Path(python)} has no Xinference.\n"
