"""IP-Adapter files: what their headers say, and which are refused by name before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sdxl_gateway.catalog.checkpoints import with_ip_adapter
from sdxl_gateway.catalog.ip_adapters import open_ip_adapter
from sdxl_gateway.config import IpAdapter
from sdxl_gateway.core.errors import CheckpointProblem
from tests.kit.admission import demo
from tests.kit.ip_adapters import PROJECTED, SIDE, TEXT, layer_shapes, plain_shapes, plus_shapes, write_encoder
from tests.kit.lora_files import file_bytes, write
from tests.kit.sdxl_shapes import CROSS_ATTENTION, sdxl_shapes

Shapes = dict[str, tuple[int, ...]]
Change = Callable[[Shapes], object]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders") / "image_encoder"
    write_encoder(folder)
    return folder


def written(folder: Path, shapes: Shapes, name: str = "adapter.safetensors") -> Path:
    path = folder / name
    write(path, file_bytes(shapes))
    return path


def problem(path: Path, encoder: Path) -> str:
    with pytest.raises(CheckpointProblem) as raised:
        with_ip_adapter({"demo": demo()}, IpAdapter(path=str(path), image_encoder=str(encoder)))
    return str(raised.value)


@pytest.mark.parametrize("plus", [False, True])
def test_plain_and_plus_are_told_apart(tmp_path: Path, encoder: Path, plus: bool) -> None:
    path = written(tmp_path, {**(plus_shapes() if plus else plain_shapes()), **layer_shapes()})
    given = IpAdapter(path=str(path), image_encoder=str(encoder))
    found = open_ip_adapter(given)
    assert (found.name, found.plus, found.side, found.tokens) == ("adapter", plus, SIDE, 6 if plus else 4)
    assert found.misfit(demo().shapes) == ""
    assert with_ip_adapter({"demo": demo()}, given)["demo"].ip_adapter == found
    assert with_ip_adapter({"demo": demo()}, IpAdapter())["demo"].ip_adapter is None


def test_the_digest_is_of_both_files(tmp_path: Path, encoder: Path) -> None:
    first, same = (written(tmp_path, {**plain_shapes(), **layer_shapes()}, f"{name}.safetensors") for name in "ab")
    other = written(tmp_path, {**plus_shapes(), **layer_shapes()}, "c.safetensors")
    digests = [
        open_ip_adapter(IpAdapter(path=str(one), image_encoder=str(encoder))).digest for one in (first, same, other)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_only_the_checkpoints_that_it_fits_have_it(tmp_path: Path, encoder: Path) -> None:
    path = written(tmp_path, {**plain_shapes(), **layer_shapes()})
    other = replace(demo(), name="other", shapes={})
    found = with_ip_adapter({"other": other, "demo": demo()}, IpAdapter(path=str(path), image_encoder=str(encoder)))
    assert [name for name, entry in found.items() if entry.ip_adapter is not None] == ["demo"]


def only(name: str) -> Change:
    def change(shapes: Shapes) -> None:
        shapes.clear()
        shapes[name] = (4, 4)

    return change


def sd15(shapes: Shapes) -> None:
    for name, shape in list(shapes.items()):
        shapes[name] = tuple({TEXT: 768, 4 * TEXT: 4 * 768}.get(side, side) for side in shape)


def wider(shapes: Shapes) -> None:
    for name, shape in list(shapes.items()):
        shapes[name] = tuple({PROJECTED: 1280}.get(side, side) for side in shape)


def crosswise(shapes: Shapes) -> None:
    for what in ("to_k_ip", "to_v_ip"):
        shapes[f"ip_adapter.1.{what}.weight"] = (96, TEXT)


BAD: dict[str, tuple[Change, str]] = {
    "stable-diffusion-1.5": (sd15, "was made for Stable Diffusion 1.5: its text is 768 wide, the checkpoint's 160"),
    "face-id": (lambda s: s.update({"ip_adapter.1.to_k_lora.down.weight": (4, 4)}), "FaceID, which reads faces"),
    "full": (lambda s: s.update({"image_proj.proj.3.weight": (4,)}), "IP-Adapter Full"),
    "flux": (lambda s: s.update({"double_blocks.0.processor.k.weight": (4, 4)}), "an adapter for Flux"),
    "lora": (only("lora_unet_mid.lora_down.weight"), "is a LoRA"),
    "something-else": (only("conv.weight"), "is no IP-Adapter"),
    "no-layers": (lambda s: [s.pop(name) for name in layer_shapes()], "is no IP-Adapter"),
    "no-projection": (lambda s: s.pop("image_proj.proj.weight"), "is no IP-Adapter"),
    "a-layer-less": (
        lambda s: [s.pop(f"ip_adapter.33.{what}.weight") for what in ("to_k_ip", "to_v_ip")],
        "guides 16 layers, which are not the checkpoint's 17",
    ),
    "values-missing": (lambda s: s.pop("ip_adapter.3.to_v_ip.weight"), "has tensors that no plain or plus"),
    "keys-of-another-width": (lambda s: s.update({"ip_adapter.3.to_k_ip.weight": (32, TEXT)}), "has tensors that no"),
    "text-of-another-width": (lambda s: s.update({"image_proj.norm.weight": (TEXT + 1,)}), "has tensors that no"),
    "one-too-many": (lambda s: s.update({"image_proj.extra.weight": (4,)}), "has tensors that no plain or plus"),
    "numbers": (lambda s: s.update({"image_proj.proj.weight": (4 * TEXT,)}), "has tensors that no plain or plus"),
    "layers-crosswise": (crosswise, "guides 17 layers, which are not the checkpoint's 17"),
    "another-encoder": (wider, "ip_adapter.image_encoder: 'adapter.safetensors' reads 1280 numbers"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_guide(tmp_path: Path, encoder: Path, name: str) -> None:
    change, words = BAD[name]
    shapes = {**plain_shapes(), **layer_shapes()}
    change(shapes)
    assert words in problem(written(tmp_path, shapes), encoder)


@pytest.mark.parametrize("lost", ["latents", "proj_in.bias", "layers.2.0.to_kv.weight", "layers.0.0.to_q.weight"])
def test_a_plus_adapter_that_lacks_a_tensor(tmp_path: Path, encoder: Path, lost: str) -> None:
    shapes = {**plus_shapes(), **layer_shapes()}
    del shapes[f"image_proj.{lost}"]
    assert "IP-Adapter" in problem(written(tmp_path, shapes), encoder)


def test_weights_that_are_no_fractions(tmp_path: Path, encoder: Path) -> None:
    path = tmp_path / "adapter.safetensors"
    write(path, file_bytes({**plain_shapes(), **layer_shapes()}, dtype="I32"))
    assert "has tensors that no plain or plus" in problem(path, encoder)


def test_files_that_are_not_opened(tmp_path: Path, encoder: Path) -> None:
    assert "is a pickle, which is never opened" in problem(written(tmp_path, {"a": (1,)}, "ip.bin"), encoder)
    assert "cannot be opened" in problem(tmp_path / "none.safetensors", encoder)
    cut = written(tmp_path, {**plain_shapes(), **layer_shapes()})
    cut.write_bytes(cut.read_bytes()[:-1])
    assert "cut short" in problem(cut, encoder)


@pytest.mark.parametrize("lie", ["hidden_size", "projection_dim", "image_size", "patch_size"])
def test_an_encoder_whose_config_lies(tmp_path: Path, lie: str) -> None:
    folder, path = tmp_path / "encoder", written(tmp_path, {**plain_shapes(), **layer_shapes()})
    write_encoder(folder)
    config = json.loads((folder / "config.json").read_text())
    for value in (config[lie] * 2, 0, "wide", None):
        (folder / "config.json").write_text(json.dumps(config | {lie: value}))
        assert "is not a folder of a CLIPVisionModelWithProjection" in problem(path, folder)
    (folder / "config.json").unlink()
    assert "is not a folder of a CLIPVisionModelWithProjection" in problem(path, folder)


def test_an_encoder_without_weights_and_one_with_code(tmp_path: Path) -> None:
    folder, path = tmp_path / "encoder", written(tmp_path, {**plain_shapes(), **layer_shapes()})
    write_encoder(folder)
    (folder / "model.py").write_text("")
    assert "is not a folder of a CLIPVisionModelWithProjection" in problem(path, folder)
    (folder / "model.py").unlink()
    (folder / "model.safetensors").unlink()
    assert "ip_adapter.image_encoder: No .safetensors weights" in problem(path, folder)


def test_the_layers_of_the_real_model(tmp_path: Path, encoder: Path) -> None:
    """70 of them, in diffusers' order: 24 down, 36 up, and the middle's 10 last."""
    widths = [640] * 4 + [1280] * 20 + [1280] * 30 + [640] * 6 + [1280] * 10
    path = written(tmp_path, {**plain_shapes(), **layer_shapes()})
    small = open_ip_adapter(IpAdapter(path=str(path), image_encoder=str(encoder)))
    real = replace(small, layers=tuple((width, CROSS_ATTENTION) for width in widths))
    assert real.misfit(sdxl_shapes()) == ""
    assert "was made for another model: its text is 2048 wide, the checkpoint's 160" in real.misfit(demo().shapes)
