"""Components loaded onto a fake CUDA device: the same models as by their libraries, without a wait of the host."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from sdxl_gateway.config import DEMO_MODEL
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.engine.memory import offload
from sdxl_gateway.engine.models import checkpoint, single_file
from sdxl_gateway.engine.models.checkpoint import Source, load_checkpoint
from sdxl_gateway.engine.models.component import Component, FolderComponent
from sdxl_gateway.engine.models.placement import Placement
from sdxl_gateway.engine.models.pretrained import load_pretrained
from sdxl_gateway.scheduling.weight_sizes import Formats
from tests.kit.cuda_streams import fake_streams
from tests.kit.device_tensors import CUDA, DeviceTensor, Watched, on_host, watching
from tests.kit.fake_cuda import FakeCuda
from tests.kit.model_folders import VAE_FILE, change_weights, copy_of_demo
from tests.kit.single_files import write_single_file

KINDS = {
    "unet": UNet2DConditionModel,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
    "vae": AutoencoderKL,
}
TEXT_FILE = Path("text_encoder/model.safetensors")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _no_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_streams(monkeypatch)
    monkeypatch.setattr(offload, "new_stream", lambda device: None)
    monkeypatch.setattr(checkpoint, "bfloat16_works", lambda device: True)


@pytest.fixture
def watched() -> Iterator[Watched]:
    """What is asked of the device."""
    with FakeCuda(), torch.inference_mode(), watching() as found:
        yield found


@pytest.fixture
def libraries_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries cannot load anything."""
    for kind in KINDS.values():
        monkeypatch.setattr(kind, "from_pretrained", None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_of_demo(tmp_path / "model")


def check_same(found: nn.Module, expected: nn.Module) -> None:
    """The same values, dtypes and layouts, all on the device."""
    ours, theirs = (dict([*model.named_parameters(), *model.named_buffers()]) for model in (found, expected))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert isinstance(tensor, DeviceTensor), name
        assert (tensor.dtype, tensor.stride()) == (theirs[name].dtype, theirs[name].stride()), name
        assert torch.equal(on_host(tensor), theirs[name]), name


def check_component(part: Component, name: str, expected: Any, dtype: torch.dtype, watched: Watched) -> None:
    found = part.load(KINDS[name], dtype, CUDA)
    assert found.dtype is expected.dtype is dtype
    assert watched.uploads
    assert watched.waits == []
    check_same(found, expected)


@pytest.mark.parametrize("name", ["text_encoder_2", "vae"])
def test_a_folders_component(name: str, watched: Watched) -> None:
    expected = load_pretrained(KINDS[name], DEMO_MODEL / name, torch.bfloat16)
    check_component(FolderComponent(DEMO_MODEL / name), name, expected, torch.bfloat16, watched)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_single_file(tmp_path_factory.mktemp("files") / "one.safetensors", dtype=torch.float32)


@pytest.mark.parametrize("name", ["text_encoder_2", "vae"])
def test_a_single_files_component(name: str, file: Path, watched: Watched) -> None:
    """Its tensors are split on the device, if that is all a conversion does."""
    part = Source("one", file, config=DEMO_MODEL).component(name)
    check_component(part, name, part.load(KINDS[name], torch.float16), torch.float16, watched)


def test_a_device_that_is_full_is_not_taken_for_a_broken_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_up(*given: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(single_file, "to_diffusers", fill_up)
    with pytest.raises(torch.OutOfMemoryError):
        Source("one", file, config=DEMO_MODEL).component("vae").load(AutoencoderKL, torch.float16)


def fp16(folder: Path) -> None:
    """Only the fp16 variant."""
    (folder / VAE_FILE).rename(folder / VAE_FILE.with_suffix(".fp16.safetensors"))


def shards(folder: Path) -> None:
    tensors, places = load_file(folder / VAE_FILE), dict[str, str]()
    (folder / VAE_FILE).unlink()
    for number in (1, 2):
        file = f"{VAE_FILE.stem}-0000{number}-of-00002.safetensors"
        part = {name: tensors[name] for name in sorted(tensors)[number - 1 :: 2]}
        save_file(part, folder / "vae" / file)
        places |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (folder / "vae" / f"{VAE_FILE.name}.index.json").write_text(json.dumps(index), "utf-8")


def mixed(folder: Path) -> None:
    """Every other tensor in float32."""

    def upcast(tensors: dict[str, Tensor]) -> None:
        tensors |= {name: tensors[name].float() for name in sorted(tensors)[::2]}

    change_weights(folder / VAE_FILE, upcast)


@pytest.mark.parametrize("change", [fp16, shards, mixed])
def test_files_of_all_kinds(change: Callable[[Path], None], folder: Path, watched: Watched) -> None:
    expected = load_pretrained(AutoencoderKL, folder / "vae", torch.float16)
    change(folder)
    check_component(FolderComponent(folder / "vae"), "vae", expected, torch.float16, watched)


def test_a_text_encoder_as_it_was_published(folder: Path, watched: Watched) -> None:
    """With a level in its names that is omitted today, and with position ids."""
    expected = load_pretrained(CLIPTextModel, folder / "text_encoder", torch.float16)
    tensors = load_file(folder / TEXT_FILE)
    published = {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in tensors.items()}
    published["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(published, folder / TEXT_FILE, metadata={"format": "pt"})
    check_component(FolderComponent(folder / "text_encoder"), "text_encoder", expected, torch.float16, watched)


OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def old(name: str) -> str:
    for present, before in OLD_NAMES.items():
        name = name.replace(f".{present}.", f".{before}.")
    return name


def test_names_that_its_library_alone_knows(folder: Path, watched: Watched) -> None:
    """The library reads them into host memory, as before."""
    expected = load_pretrained(AutoencoderKL, folder / "vae", torch.float16)
    before = {old(name): tensor for name, tensor in load_file(folder / VAE_FILE).items()}
    assert before.keys() != expected.state_dict().keys()
    save_file(before, folder / VAE_FILE, metadata={"format": "pt"})
    found = FolderComponent(folder / "vae").load(AutoencoderKL, torch.float16, CUDA)
    assert watched.uploads == []
    assert all(torch.equal(tensor, expected.state_dict()[name]) for name, tensor in found.state_dict().items())


def drop(tensors: dict[str, Tensor]) -> None:
    del tensors["decoder.conv_in.bias"]


def reshape(tensors: dict[str, Tensor]) -> None:
    tensors["decoder.conv_in.bias"] = torch.zeros(3)


@pytest.mark.parametrize(
    ("harm", "told"), [(drop, "no weights for 'decoder.conv_in.bias'"), (reshape, "cannot be loaded")]
)
def test_what_is_wrong_is_told_by_the_library_before_anything_is_read(
    harm: Callable[[dict[str, Tensor]], None], told: str, folder: Path, watched: Watched
) -> None:
    change_weights(folder / VAE_FILE, harm)
    with pytest.raises(CheckpointProblem, match=f"'vae/' .*{told}"):
        FolderComponent(folder / "vae").load(AutoencoderKL, torch.float16, CUDA)
    assert watched.uploads == []


@pytest.mark.usefixtures("libraries_out")
def test_a_whole_checkpoint_is_there_without_a_wait(watched: Watched) -> None:
    """Convolutions get the layout that tensor cores need on the device."""
    found = load_checkpoint(Source("demo", DEMO_MODEL), Placement.everything_on(CUDA), torch.float16)
    assert watched.waits == []
    tensors = [tensor for part in (found.unet, found.vae, *found.text_encoders) for tensor in part.parameters()]
    assert len(watched.uploads) == len(tensors), "each is smaller than a piece, and crosses once"
    assert all(isinstance(tensor, DeviceTensor) for tensor in tensors)
    for part in (found.unet, found.vae.decoder):
        assert part.conv_in.weight.is_contiguous(memory_format=torch.channels_last)


def test_only_what_stays_there_as_it_is_goes_straight(watched: Watched) -> None:
    everything = Placement.everything_on(CUDA)
    assert [everything.load_device(name) for name in KINDS] == [CUDA] * 4
    assert [replace(everything, mode="balanced").load_device(name) for name in KINDS] == [CUDA, CPU, CPU, CPU]
    assert [replace(everything, mode="low").load_device(name) for name in KINDS] == [CPU] * 4
    assert replace(everything, formats=Formats(weights="int8")).load_device("unet") == CPU
