"""The matte model of the settings is opened before anything is served, and what cannot be one is named."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from sdxl_gateway.config import DEMO_MATTE, Matting
from sdxl_gateway.core.errors import MatteProblem
from sdxl_gateway.matting.open import open_matte
from tests.kit import matte_files


def test_none_is_configured() -> None:
    assert open_matte(Matting(), DEMO_MATTE) is None


def test_the_demos_is_known_by_its_files_digest() -> None:
    matte = open_matte(Matting(path="demo"), DEMO_MATTE)
    assert matte is not None
    assert matte.digest == hashlib.sha256(DEMO_MATTE.read_bytes()).hexdigest()


def cut(path: Path) -> Path:
    path.write_bytes(DEMO_MATTE.read_bytes()[:100_000])
    return path


def words(path: Path) -> Path:
    path.write_text("not a model", "utf-8")
    return path


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path, "there is no file"),
        (cut, "cannot be used as a matte model"),
        (words, "cannot be used as a matte model"),
        (partial(matte_files.model, channels=4), "does not read one picture of three channels"),
        (partial(matte_files.model, inputs=2), "does not read one picture of three channels"),
        (partial(matte_files.model, answers=2), "first output is not one matte"),
    ],
)
def test_what_is_no_matte_model_is_named(tmp_path: Path, make: Callable[[Path], Path], reason: str) -> None:
    path = make(tmp_path / "m.onnx")
    with pytest.raises(MatteProblem, match=reason) as found:
        open_matte(Matting(path=str(path)), DEMO_MATTE)
    assert str(found.value).startswith("matting.path: ")
    assert str(path) in str(found.value)


def test_without_onnxruntime_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for module in ("matting.net", "matting.matte", "nets.session"):
        monkeypatch.delitem(sys.modules, f"sdxl_gateway.{module}", raising=False)
    with pytest.raises(MatteProblem, match=r"pip install 'sdxl-gateway\[matting\]'"):
        open_matte(Matting(path="demo"), DEMO_MATTE)


def test_who_configures_none_imports_none() -> None:
    code = (
        "import sys, sdxl_gateway.app; print('onnxruntime' in sys.modules, 'sdxl_gateway.matting.net' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["False", "False"]


def test_another_file_in_its_place_is_noticed_and_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "matte.onnx"
    path.write_bytes(DEMO_MATTE.read_bytes())
    matte = open_matte(Matting(path=str(path)), DEMO_MATTE)
    assert matte is not None
    before, seen = matte.digest, [matte.replaced]
    path.write_bytes(b"another")
    seen.append(matte.replaced)
    path.unlink()
    assert [*seen, matte.replaced] == [False, True, True]
    assert matte.digest == before
