"""The demo's ControlNet, which does not ship, has it paint shapes where the edges of drawings are that it never saw."""

from __future__ import annotations

import pytest

from sdxl_gateway.catalog.controls import open_control
from sdxl_gateway.config import Control
from tests.kit.admission import demo
from tools.demo_model import edges, edges_figures

LIMIT = 4 * 1024 * 1024
TOLERANCE = 0.03
FEW = 2

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_the_figures_on_record_are_of_this_file_and_good_enough() -> None:
    figures, digest = edges_figures.RECORD.read()
    assert digest == edges_figures.RECORD.digest()
    assert figures.prompted > figures.without + 0.5, figures
    assert figures.unprompted > figures.without + 0.3, figures


def test_the_server_knows_what_it_is_and_whom_it_fits() -> None:
    entry = open_control("edges", Control(path=str(edges.TARGET)))
    assert entry.fits(demo().shapes)
    assert not entry.union


def test_some_drawings_are_followed_now() -> None:
    drawings = edges_figures.held_out_drawings(FEW)
    _, controlled = edges_figures.pipelines()
    assert edges_figures.mean_agreement(edges_figures.painted(controlled, drawings), drawings) > 0.5


@pytest.mark.full
def test_what_is_measured_now_is_as_on_record() -> None:
    found, (figures, _) = edges_figures.measured(), edges_figures.RECORD.read()
    assert found.prompted == pytest.approx(figures.prompted, abs=TOLERANCE)
    assert found.unprompted == pytest.approx(figures.unprompted, abs=TOLERANCE)
    assert found.without == pytest.approx(figures.without, abs=TOLERANCE)


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in edges.TARGET.iterdir()) < LIMIT
