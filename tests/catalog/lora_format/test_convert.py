"""Conversion renames and never computes: the bytes of every tensor stay, and the plan of the result says the same."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.catalog.lora_format.convert import convert_file, read_scalar
from sdxl_gateway.catalog.lora_format.plan import plan_lora
from sdxl_gateway.catalog.safetensors_header import Header, read_header
from sdxl_gateway.config import HeaderCaps
from sdxl_gateway.core.errors import AdapterRefused
from tests.kit.lora_files import file_bytes, kohya_name, lora_tensors, make_header, write

FF, CONV, TEXT = "unet.mid_block.ff", "unet.mid_block.conv1", "text_encoder_2.text_model.encoder.layers.0.mlp.fc1"
SHAPES = {FF: (24, 8), CONV: (16, 8, 3, 3), TEXT: (32, 8)}


def convert(tmp_path: Path, data: bytes) -> tuple[Header, bytes]:
    source = write(tmp_path / "in.safetensors", data)
    made = b"".join(convert_file(source, SHAPES, HeaderCaps()))
    path = write(tmp_path / "out.safetensors", made)
    return read_header(path, HeaderCaps()), made


def tensor(data: bytes, header: Header, name: str) -> bytes:
    info = header.tensors[name]
    start = 8 + int.from_bytes(data[:8], "little")
    return data[start + info.start : start + info.end]


def with_alphas(tensors: dict[str, tuple[int, ...]], alphas: dict[str, float], metadata: dict[str, str]) -> bytes:
    data = bytearray(file_bytes(tensors, metadata))
    header = make_header(tensors)
    for name, alpha in alphas.items():
        place = 8 + int.from_bytes(data[:8], "little") + header.tensors[name].start
        data[place : place + 2] = struct.pack("<e", alpha)
    return bytes(data)


def test_kohya_with_dora_becomes_diffusers(tmp_path: Path) -> None:
    tensors = lora_tensors(SHAPES)
    tensors |= {f"{kohya_name(m)}.dora_scale": (s[0], *(1 for _ in s[1:])) for m, s in SHAPES.items()}
    alphas = {f"{kohya_name(FF)}.alpha": 2.0, f"{kohya_name(CONV)}.alpha": 1.0, f"{kohya_name(TEXT)}.alpha": 2.0}
    source = with_alphas(tensors, alphas, {"ss_output_name": "ink", "other": "dropped"})
    header, made = convert(tmp_path, source)

    assert {name: info.shape for name, info in header.tensors.items()} == {
        f"{FF}.lora_A.weight": (4, 8),
        f"{FF}.lora_B.weight": (24, 4),
        f"{FF}.lora_magnitude_vector.weight": (24,),
        f"{CONV}.lora_A.weight": (4, 8, 3, 3),
        f"{CONV}.lora_B.weight": (16, 4, 1, 1),
        f"{CONV}.lora_magnitude_vector.weight": (1, 16, 1, 1),
        f"{TEXT}.lora_A.weight": (4, 8),
        f"{TEXT}.lora_B.weight": (32, 4),
        f"{TEXT}.lora_magnitude_vector.weight": (32,),
    }
    before = make_header(tensors)
    for module in SHAPES:
        for new, old in (("lora_A.weight", "lora_down.weight"), ("lora_magnitude_vector.weight", "dora_scale")):
            assert tensor(made, header, f"{module}.{new}") == tensor(source, before, f"{kohya_name(module)}.{old}")
    assert header.metadata["ss_output_name"] == "ink"
    assert "other" not in header.metadata
    scales = {part.module: part.scale for part in plan_lora(header, SHAPES).parts}
    assert scales == {FF: 0.5, CONV: 0.25, TEXT: 0.5}


def test_the_metadata_is_what_diffusers_reads(tmp_path: Path) -> None:
    tensors = lora_tensors({FF: (24, 8)}, alpha=None) | lora_tensors({CONV: (16, 8, 3, 3)}, rank=2, alpha=None)
    header, _ = convert(tmp_path, file_bytes(tensors))
    config: dict[str, Any] = json.loads(header.metadata["lora_adapter_metadata"])
    assert config["unet.r"] == 4
    assert config["unet.lora_alpha"] == 4.0
    assert config["unet.rank_pattern"] == {"mid_block.conv1": 2}
    assert config["unet.alpha_pattern"] == {"mid_block.conv1": 2.0}
    assert config["unet.target_modules"] == ["mid_block.conv1", "mid_block.ff"]
    assert config["unet.use_dora"] is False


def test_converting_twice_changes_nothing(tmp_path: Path) -> None:
    tensors = lora_tensors(SHAPES)
    _, once = convert(tmp_path, with_alphas(tensors, {name: 3.0 for name in tensors if "alpha" in name}, {}))
    _, twice = convert(tmp_path, once)
    assert once == twice


@pytest.mark.parametrize(
    ("suffixes", "words"),
    [
        ({".hada_w1_a": (24, 2), ".hada_w1_b": (2, 8), ".hada_w2_a": (24, 2), ".hada_w2_b": (2, 8)}, "loha"),
        ({".lokr_w1": (2, 2), ".lokr_w2": (12, 4)}, "lokr"),
        ({".diff": (24, 8)}, "full"),
        ({".lora_down.weight": (2, 8), ".lora_up.weight": (24, 2), ".diff_b": (24,)}, "'diff_b'"),
        ({".lora_down.weight": (2, 8), ".lora_up.weight": (24, 2), ".dora_scale": (1, 8)}, "for each input"),
    ],
)
def test_what_is_not_exact_is_refused(tmp_path: Path, suffixes: dict[str, tuple[int, ...]], words: str) -> None:
    with pytest.raises(AdapterRefused, match=words):
        convert(tmp_path, file_bytes({kohya_name(FF) + suffix: shape for suffix, shape in suffixes.items()}))


def test_bundled_embeddings_are_refused_since_they_would_be_lost(tmp_path: Path) -> None:
    shapes = SHAPES | {"text_encoder.text_model.embeddings.token_embedding": (100, 8)}
    tensors = lora_tensors({FF: (24, 8)}) | {"bundle_emb.inky.clip_l": (2, 8)}
    source = write(tmp_path / "in.safetensors", file_bytes(tensors))
    with pytest.raises(AdapterRefused, match="teaches the word 'inky' \\(a bundled embedding\\)"):
        list(convert_file(source, shapes, HeaderCaps()))


def test_a_magnitude_on_some_layers_only_is_refused(tmp_path: Path) -> None:
    tensors = lora_tensors({FF: (24, 8), CONV: (16, 8, 3, 3)}) | {f"{kohya_name(FF)}.dora_scale": (24, 1)}
    with pytest.raises(AdapterRefused, match="Only some"):
        convert(tmp_path, file_bytes(tensors))


def test_scalars_of_every_kind() -> None:
    assert read_scalar(struct.pack("<e", 1.5), "F16") == 1.5
    assert read_scalar(struct.pack("<f", 1.5), "F32") == 1.5
    assert read_scalar(struct.pack("<d", 1.5), "F64") == 1.5
    assert read_scalar(struct.pack("<f", 1.5)[2:], "BF16") == 1.5
    assert read_scalar(struct.pack("<q", 8), "I64") == 8.0
    for raw, dtype in ((b"\0", "F8_E4M3"), (struct.pack("<f", float("nan")), "F32"), (b"\x80\x7f", "BF16")):
        with pytest.raises(AdapterRefused):
            read_scalar(raw, dtype)


def test_nothing_is_written_before_the_checks(tmp_path: Path) -> None:
    source = write(tmp_path / "in.safetensors", file_bytes({f"{kohya_name(FF)}.diff": (24, 8)}))
    out = io.BytesIO()
    with pytest.raises(AdapterRefused):
        out.writelines(convert_file(source, SHAPES, HeaderCaps()))
    assert out.getvalue() == b""
