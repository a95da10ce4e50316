"""The demo's refiner, which does not ship, has colours stray less than the demo does, of prompts that it never saw."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_gateway.catalog.checkpoints import open_checkpoint
from sdxl_gateway.config import DEMO_MODEL, Checkpoint
from tools.demo_model import evaluate, refiner, refiner_figures

LIMIT = 4 * 1024 * 1024
TOLERANCE = 0.02
FEW = 2

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_the_figures_on_record_are_of_this_file_and_good_enough() -> None:
    figures, digest = refiner_figures.RECORD.read()
    assert digest == refiner_figures.RECORD.digest()
    assert figures.astray < 0.85 * figures.astray_without, figures
    assert figures.shape > figures.shape_without - TOLERANCE, figures


def test_the_server_knows_what_it_is(tmp_path: Path) -> None:
    folder = refiner.write_folder(tmp_path / "refiner")
    assert open_checkpoint("refiner", Checkpoint(path=str(folder)), DEMO_MODEL).refines


def test_some_colours_stray_less_now() -> None:
    plain, last = refiner_figures.pipelines()
    cases = evaluate.cases(FEW, 0, refiner_figures.FIRST_SEED)
    with_it = [refiner_figures.astray(refiner_figures.refined(plain, last, one), one) for one in cases]
    without = [refiner_figures.astray(evaluate.paint(plain, [one])[0], one) for one in cases]
    assert sum(with_it) < sum(without), (with_it, without)


@pytest.mark.full
def test_what_is_measured_now_is_as_on_record() -> None:
    found, (figures, _) = refiner_figures.measured(), refiner_figures.RECORD.read()
    assert found.shape == pytest.approx(figures.shape, abs=TOLERANCE)
    assert found.astray == pytest.approx(figures.astray, abs=0.5)


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in refiner.TARGET.iterdir()) < LIMIT
