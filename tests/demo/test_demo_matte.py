"""The shipped matte net finds the shapes of drawings and paintings that it never saw."""

from __future__ import annotations

import pytest

from sdxl_gateway.config import DEMO_MATTE
from sdxl_gateway.matting.kinds import KINDS
from sdxl_gateway.matting.net import MatteNet
from tools.demo_model import matte_figures

LIMIT = 1024 * 1024
TOLERANCE = 0.01


def test_the_figures_on_record_are_of_this_file_and_good_enough() -> None:
    figures, digest = matte_figures.RECORD.read()
    assert digest == matte_figures.RECORD.digest()
    assert figures.drawn >= 0.95, figures
    assert figures.drawn_error <= 0.01, figures
    assert figures.painted >= 0.9, figures
    assert (figures.drawn_worst >= 0.8, figures.painted_worst >= 0.5) == (True, True), figures


def test_drawings_measured_now_are_as_on_record() -> None:
    net = MatteNet(DEMO_MATTE, KINDS["u2net"], 1)
    found = matte_figures.measured(net, matte_figures.held_out_drawings(matte_figures.DRAWN), [])
    figures, _ = matte_figures.RECORD.read()
    assert found.drawn == pytest.approx(figures.drawn, abs=TOLERANCE)
    assert found.drawn_error == pytest.approx(figures.drawn_error, abs=TOLERANCE)


def test_it_is_small() -> None:
    assert DEMO_MATTE.stat().st_size < LIMIT
