"""What a single file's header tells, and files that are not opened or not believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_gateway.catalog.checkpoints import open_checkpoint, scheduler_changes
from sdxl_gateway.catalog.single_file.families import Family
from sdxl_gateway.catalog.single_file.layout import sdxl_tensors
from sdxl_gateway.catalog.single_file.read import read_single_file
from sdxl_gateway.config import DEMO_MODEL, Checkpoint
from sdxl_gateway.core.errors import CheckpointProblem
from tests.kit import single_file_headers as made
from tests.kit.lora_files import raw_file, write
from tests.kit.single_file_headers import write_holes

PICKLE = b"\x80\x02cos\nsystem\nq\x00X\x04\x00\x00\x00true"
V: dict[str, object] = {"prediction_type": "v_prediction"}
ZERO_SNR: dict[str, object] = V | {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}


@pytest.mark.parametrize(
    ("more", "metadata", "config"),
    [
        ((), {}, {}),
        (("v_pred",), {}, V),
        (("v_pred", "ztsnr"), {}, ZERO_SNR),
        (("ztsnr",), {}, {}),
        (("ztsnr",), {"modelspec.prediction_type": "v"}, ZERO_SNR),
        ((), {"modelspec.prediction_type": "v_prediction"}, V),
        ((), {"modelspec.predict_key": "v"}, V),
        ((), {"modelspec.prediction_type": "Epsilon"}, {"prediction_type": "epsilon"}),
        ((), {"modelspec.prediction_type": "something else"}, {}),
        (("v_pred",), {"modelspec.prediction_type": "epsilon"}, V),
    ],
)
def test_what_its_sampler_needs(
    tmp_path: Path, more: tuple[str, ...], metadata: dict[str, str], config: dict[str, object]
) -> None:
    shapes = dict(sdxl_tensors()) | dict.fromkeys(more, (0,))
    file = read_single_file(write_holes(tmp_path / "a.safetensors", shapes, metadata=metadata))
    assert scheduler_changes(Checkpoint(path="unused"), file.path) == config


@pytest.mark.parametrize(
    ("section", "config"),
    [
        ({"prediction_type": "epsilon"}, {"prediction_type": "epsilon"}),
        ({"zero_snr": False}, V | {"rescale_betas_zero_snr": False}),
        ({"prediction_type": "v_prediction"}, ZERO_SNR),
    ],
)
def test_the_section_goes_before_the_file(
    tmp_path: Path, section: dict[str, object], config: dict[str, object]
) -> None:
    path = write_holes(tmp_path / "a.safetensors", made.V1 | {"v_pred": (0,), "ztsnr": (0,)})
    assert scheduler_changes(Checkpoint.model_validate({"path": str(path), **section}), path) == config


def test_the_section_speaks_for_a_folder() -> None:
    section = Checkpoint(path="demo", prediction_type="v_prediction", zero_snr=True)
    assert scheduler_changes(section, DEMO_MODEL) == ZERO_SNR
    assert scheduler_changes(Checkpoint(path="demo"), DEMO_MODEL) == {}


def test_what_is_told_of_it(tmp_path: Path) -> None:
    dtypes = {"first_stage_model.decoder.conv_in.weight": "F32"}
    file = read_single_file(write_holes(tmp_path / "a.safetensors", sdxl_tensors(), dtype="BF16", dtypes=dtypes))
    assert (file.family, file.dtype, file.has_vae, file.in_channels) == (Family.SDXL, "BF16", True, 4)
    assert file.parameters == 3_468_837_867


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.PTH", "model.bin"])
def test_a_pickle_is_never_opened(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / name, PICKLE)
    opened: list[Path] = []
    monkeypatch.setattr(Path, "open", lambda self, *_: opened.append(self))
    with pytest.raises(CheckpointProblem, match="is a pickle, which runs code when it is opened"):
        open_checkpoint("mine", Checkpoint(path=str(path)), DEMO_MODEL)
    assert opened == []


def _cut(path: Path) -> Path:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    return path


def _cut_header(path: Path) -> Path:
    return write(path, path.read_bytes()[:1000])


def _append(path: Path) -> Path:
    with path.open("ab") as file:
        file.write(b"\0")
    return path


def _pickle(path: Path) -> Path:
    return write(path, PICKLE)


def _page(path: Path) -> Path:
    return write(path, b"<!doctype html><html><title>Sign in</title></html>")


def _lie(path: Path) -> Path:
    entry = {"dtype": "F16", "shape": [4, 4], "data_offsets": [0, 16]}
    return write(path, raw_file({"a": entry}, bytes(16)))


def _nothing(path: Path) -> Path:
    return write(path, b"")


@pytest.mark.parametrize("spoil", [_cut, _cut_header, _append, _pickle, _page, _lie, _nothing])
def test_a_file_whose_header_cannot_be_trusted(tmp_path: Path, spoil: object) -> None:
    path = write_holes(tmp_path / "a.safetensors", made.V1)
    assert callable(spoil)
    spoil(path)
    with pytest.raises(CheckpointProblem, match=r"^'a\.safetensors': (The|This)"):
        open_checkpoint("mine", Checkpoint(path=str(path)), DEMO_MODEL)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf", b"GGUF")
    with pytest.raises(CheckpointProblem, match=r"'model\.gguf' is no checkpoint"):
        open_checkpoint("mine", Checkpoint(path=str(path)), DEMO_MODEL)
