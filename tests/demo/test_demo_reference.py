"""The demo's IP-Adapter, which does not ship, has it paint in the colours of drawings that it never saw."""

from __future__ import annotations

import numpy as np
import pytest

from sdxl_gateway.catalog.ip_adapters import open_ip_adapter
from sdxl_gateway.config import IpAdapter
from tests.kit.admission import demo
from tools.demo_model import reference, reference_figures

LIMIT = 2 * 1024 * 1024
TOLERANCE = 6.0
FEW = 3

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_the_figures_on_record_are_of_these_files_and_good_enough() -> None:
    figures, digest = reference_figures.RECORD.read()
    assert digest == reference_figures.RECORD.digest()
    assert figures.shown < figures.without / 2, figures


def test_the_server_knows_what_it_is_and_whom_it_fits() -> None:
    entry = open_ip_adapter(IpAdapter(path=str(reference.ADAPTER), image_encoder=str(reference.ENCODER)))
    assert not entry.plus
    assert entry.misfit(demo().shapes) == ""


def test_some_drawings_are_followed_now() -> None:
    drawings = [drawing for _, drawing in reference_figures.held_out_drawings(FEW)]
    pictures = reference_figures.painted(reference_figures.pipeline_with_adapter(), drawings)
    pairs = zip(pictures, drawings, strict=True)
    figures, _ = reference_figures.RECORD.read()
    assert np.mean([reference_figures.distance(*pair) for pair in pairs]) < figures.without / 2


@pytest.mark.full
def test_what_is_measured_now_is_as_on_record() -> None:
    found, (figures, _) = reference_figures.measured(), reference_figures.RECORD.read()
    assert found.shown == pytest.approx(figures.shown, abs=TOLERANCE)
    assert found.without == pytest.approx(figures.without, abs=TOLERANCE)
    assert found.shape == pytest.approx(figures.shape, abs=0.1)


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in reference.TARGET.rglob("*") if path.is_file()) < LIMIT
