"""The demo's upscaler, which does not ship, enlarges drawings it never saw better than Lanczos does."""

from __future__ import annotations

import pytest

from sdxl_gateway.catalog.upscalers import Architecture, open_upscaler
from sdxl_gateway.config import Upscaler
from tools.demo_model import upscaler, upscaler_figures

LIMIT = 256 * 1024
GAIN_DB = 0.5
TOLERANCE_DB = 0.3

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_the_figures_on_record_are_of_this_file_and_good_enough() -> None:
    figures, digest = upscaler_figures.RECORD.read()
    assert digest == upscaler_figures.RECORD.digest()
    assert figures.enlarged > figures.lanczos + GAIN_DB, figures


def test_the_server_knows_what_it_is() -> None:
    net = open_upscaler("demo", Upscaler(path=upscaler.TARGET))
    assert (net.architecture, net.scale) == (Architecture.RRDB, upscaler.SCALE)


@pytest.mark.full
def test_what_is_measured_now_is_as_on_record() -> None:
    found, (figures, _) = upscaler_figures.measured(upscaler_figures.shipped()), upscaler_figures.RECORD.read()
    assert found.enlarged == pytest.approx(figures.enlarged, abs=TOLERANCE_DB)
    assert found.lanczos == pytest.approx(figures.lanczos, abs=TOLERANCE_DB)


def test_it_is_small() -> None:
    assert upscaler.TARGET.stat().st_size < LIMIT
