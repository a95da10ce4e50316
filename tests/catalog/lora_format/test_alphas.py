"""An alpha that stands in the metadata alone is used, an alpha of 0 counts as none, and the report says both."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.lora_format.alphas import told_alpha
from sdxl_gateway.catalog.lora_format.convert import convert_file
from sdxl_gateway.catalog.lora_format.plan import plan_lora
from sdxl_gateway.catalog.safetensors_header import read_header
from sdxl_gateway.config import HeaderCaps, Loras
from tests.kit.lora_files import file_bytes, lora_tensors, make_header, write

FF, CONV, THIN = "unet.mid_block.ff", "unet.mid_block.conv1", "unet.mid_block.proj_in"
SHAPES = {FF: (24, 8), CONV: (16, 8, 3, 3), THIN: (16, 8, 1, 1)}
CHECKPOINT = CheckpointEntry("demo", Path("demo"), "d" * 64, 0, SHAPES, 4096, 4096)
BARE = lora_tensors(SHAPES, alpha=None)


def scales(metadata: dict[str, str], tensors: dict[str, tuple[int, ...]] = BARE) -> list[float | None]:
    return [part.scale for part in plan_lora(make_header(tensors, metadata), SHAPES).parts]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, [None, None, None]),
        ({"ss_network_alpha": "2"}, [0.5, 0.5, 0.5]),
        ({"ss_network_alpha": "2.0", "lora_alpha": "1"}, [0.5, 0.5, 0.5]),
        ({"lora_alpha": "16"}, [4.0, 4.0, 4.0]),
        ({"ss_network_alpha": "2", "ss_network_args": '{"conv_alpha": "1"}'}, [0.5, 0.25, 0.5]),
        ({"ss_network_alpha": "2", "ss_network_args": '{"conv_alpha": 1, "algo": "locon"}'}, [0.5, 0.25, 0.5]),
        ({"ss_network_alpha": "0"}, [1.0, 1.0, 1.0]),
        ({"ss_network_alpha": "None", "lora_alpha": "2"}, [0.5, 0.5, 0.5]),
    ],
)
def test_the_metadatas_word_where_no_tensor_says(metadata: dict[str, str], expected: list[float | None]) -> None:
    assert scales(metadata) == expected


@pytest.mark.parametrize("text", ["None", "", "much", "nan", "inf", "-1", "1e99", "9" * 5000, "[1]"])
def test_what_is_no_alpha_is_not_taken_for_one(text: str) -> None:
    assert told_alpha({"ss_network_alpha": text}) is None


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"conv_alpha": null}', "[" * 100_000, '{"conv_alpha": {}}'])
def test_strange_arguments_are_none(text: str) -> None:
    assert scales({"ss_network_alpha": "2", "ss_network_args": text}) == [0.5, 0.5, 0.5]


def test_tensors_and_configs_go_before_the_metadata() -> None:
    assert scales({"ss_network_alpha": "2"}, lora_tensors(SHAPES)) == [None, None, None]
    half = lora_tensors({FF: SHAPES[FF]}) | lora_tensors({CONV: SHAPES[CONV]}, alpha=None)
    assert scales({"ss_network_alpha": "2"}, half) == [None, None]
    config = json.dumps({"unet.lora_alpha": 8, "unet.r": 4})
    assert scales({"ss_network_alpha": "2", "lora_adapter_metadata": config}) == [2.0, 2.0, 2.0]


async def notes(tmp_path: Path, data: bytes) -> tuple[str, ...]:
    write(tmp_path / "loras" / "ink.safetensors", data)
    catalog = LoraCatalog(Loras(directory=tmp_path / "loras"), tmp_path / "data")
    catalog.scan()
    found = (await catalog.check_in("ink", CHECKPOINT)).report.notes
    added = await catalog.add("new", data, checkpoint=CHECKPOINT)
    assert (await catalog.check_in(added.name, CHECKPOINT)).report.notes == found
    return found


async def test_the_report_says_where_the_alpha_comes_from(tmp_path: Path) -> None:
    told = {"ss_network_alpha": "2", "ss_network_args": '{"conv_alpha": "1"}'}
    assert await notes(tmp_path, file_bytes(BARE, told)) == (
        "No tensor holds an alpha; the one in the metadata is used (ss_network_alpha 2, conv_alpha 1).",
    )


@pytest.mark.parametrize("dtype", ["F16", "F32", "BF16", "F8_E4M3", "I64"])
async def test_the_report_counts_alphas_of_zero(tmp_path: Path, dtype: str) -> None:
    tensors = lora_tensors({FF: SHAPES[FF], CONV: SHAPES[CONV]})
    header = make_header(tensors)
    alphas = [name for name in tensors if name.endswith(".alpha")]
    size = {"F16": 2, "F32": 4, "BF16": 2, "F8_E4M3": 1, "I64": 8}[dtype]
    data = file_bytes_with(tensors, dict.fromkeys(alphas, dtype), zero=alphas[0], size=size)
    assert header.tensors.keys() == tensors.keys()
    assert await notes(tmp_path, data) == ("1 of 2 alphas are 0, which counts as none: their scale is 1.",)


def file_bytes_with(tensors: dict[str, tuple[int, ...]], dtypes: dict[str, str], *, zero: str, size: int) -> bytes:
    """A file of F16 factors whose alphas have another type; one of them is 0."""
    entries, data = {}, b""
    for name, shape in tensors.items():
        alpha = (b"\0" if name == zero else b"\x3c") * size
        raw = alpha if name in dtypes else bytes(make_header({name: shape}).data_bytes)
        entries[name] = {
            "dtype": dtypes.get(name, "F16"),
            "shape": list(shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


async def test_a_told_alpha_of_zero_is_in_the_report_too(tmp_path: Path) -> None:
    assert await notes(tmp_path, file_bytes(BARE, {"ss_network_alpha": "0"})) == (
        "No tensor holds an alpha; the one in the metadata is used (ss_network_alpha 0).",
        "1 of 1 alphas are 0, which counts as none: their scale is 1.",
    )


async def test_a_plain_file_needs_no_note(tmp_path: Path) -> None:
    assert await notes(tmp_path, file_bytes(lora_tensors(SHAPES), {"ss_network_alpha": "2"})) == ()
    assert await notes(tmp_path / "other", file_bytes(BARE)) == ()


def test_a_converted_file_keeps_the_scale(tmp_path: Path) -> None:
    source = write(tmp_path / "in.safetensors", file_bytes(BARE, {"ss_network_alpha": "2"}))
    made = write(tmp_path / "out.safetensors", b"".join(convert_file(source, SHAPES, HeaderCaps())))
    again = plan_lora(read_header(made, HeaderCaps()), SHAPES)
    assert {part.scale for part in again.parts} == {0.5}
