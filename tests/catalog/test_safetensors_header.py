"""The header reader believes nothing: every attack file is refused in plain words, every good file read exactly."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdxl_gateway.catalog.safetensors_header import DTYPE_BYTES, Header, read_header
from sdxl_gateway.config import HeaderCaps
from sdxl_gateway.core.errors import AdapterRefused
from tests.kit.header_attacks import ATTACKS, ONE
from tests.kit.lora_files import file_bytes, make_header, raw_file, write


def read(path: Path, max_header_bytes: int = 2**20, max_tensors: int = 100) -> Header:
    return read_header(path, HeaderCaps(max_header_bytes=max_header_bytes, max_tensors=max_tensors))


def test_reads_names_types_shapes_places_and_metadata(tmp_path: Path) -> None:
    shapes = {"down": (4, 320), "up": (640, 4), "alpha": ()}
    path = write(tmp_path / "x.safetensors", file_bytes(shapes, {"ss_output_name": "Größe"}))
    header = read(path)
    assert header.tensors == make_header(shapes).tensors
    assert header.metadata == {"ss_output_name": "Größe"}
    assert header.data_start + header.data_bytes == path.stat().st_size


@pytest.mark.parametrize("dtype", sorted(DTYPE_BYTES))
def test_reads_every_type_of_the_list(tmp_path: Path, dtype: str) -> None:
    path = write(tmp_path / "x.safetensors", file_bytes({"a": (3, 5)}, dtype=dtype))
    assert read(path).tensors["a"].dtype == dtype


def test_empty_tensors_are_legal(tmp_path: Path) -> None:
    assert read(write(tmp_path / "x", file_bytes({"a": (0, 5), "b": (2,)}))).tensors["a"].shape == (0, 5)


def test_what_the_common_writer_writes_is_read(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    import numpy as np

    path = tmp_path / "x.safetensors"
    numpy.save_file({"b": np.ones((2, 3), np.float32), "a": np.zeros(5, np.float16)}, path, {"k": "v"})
    header = read(path)
    assert {name: (t.dtype, t.shape) for name, t in header.tensors.items()} == {
        "b": ("F32", (2, 3)),
        "a": ("F16", (5,)),
    }
    assert header.metadata == {"k": "v"}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_files_are_refused_in_plain_words(tmp_path: Path, name: str) -> None:
    data, words = ATTACKS[name]
    path = write(tmp_path / "attack.safetensors", data)
    with pytest.raises(AdapterRefused) as refused:
        read(path)
    assert words in refused.value.message
    for leak in (str(tmp_path), "attack", "0x", "Traceback", "Error", "char "):
        assert leak not in refused.value.message


def test_header_size_at_the_limit_and_one_above(tmp_path: Path) -> None:
    data = raw_file(ONE, bytes(12))
    path = write(tmp_path / "x", data)
    length = int.from_bytes(data[:8], "little")
    assert read(path, max_header_bytes=length).tensors
    with pytest.raises(AdapterRefused, match="at most"):
        read(path, max_header_bytes=length - 1)


def test_tensor_count_at_the_limit_and_one_above(tmp_path: Path) -> None:
    path = write(tmp_path / "x", file_bytes({f"t{i}": (1,) for i in range(5)}))
    assert len(read(path, max_tensors=5).tensors) == 5
    with pytest.raises(AdapterRefused, match="5 tensors; at most 4"):
        read(path, max_tensors=4)


def test_a_header_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.write(raw_file(b"{", length=99 * 2**20))
        file.truncate(200 * 2**20)
    tracemalloc.start()
    try:
        with pytest.raises(AdapterRefused, match="at most"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    with pytest.raises(AdapterRefused, match="cannot be opened"):
        read(tmp_path / "missing")
    with pytest.raises(AdapterRefused):
        read(tmp_path)
    with pytest.raises(AdapterRefused, match="cannot be opened"):
        read(Path(f"{tmp_path}/a\0b"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_does_not_hang_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AdapterRefused, match="not a regular file"):
        read(tmp_path / "pipe")


names = st.text(st.characters(categories=("L", "N"), max_codepoint=0x2FFF), min_size=1, max_size=30)
shapes_of = st.dictionaries(names, st.lists(st.integers(0, 5), max_size=4).map(tuple), min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(shapes=shapes_of, dtype=st.sampled_from(sorted(DTYPE_BYTES)), metadata=st.dictionaries(names, names))
def test_any_well_made_file_is_read_back(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], dtype: str, metadata: dict[str, str]
) -> None:
    path = write(tmp_path / "x", file_bytes(shapes, metadata, dtype))
    header = read(path)
    assert header.tensors == make_header(shapes, dtype=dtype).tensors
    assert header.metadata == metadata


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.integers(1, 400), flips=st.lists(st.tuples(st.integers(0, 399), st.integers(0, 255)), max_size=6))
def test_damaged_files_are_read_or_refused_and_nothing_else(
    tmp_path: Path, cut: int, flips: list[tuple[int, int]]
) -> None:
    data = bytearray(file_bytes({"lora_down": (4, 8), "lora_up": (8, 4), "alpha": ()}, {"k": "v"}))
    for place, value in flips:
        data[place % len(data)] = value
    path = write(tmp_path / "x", bytes(data[: min(cut * 2, len(data))]))
    try:
        header = read(path)
    except AdapterRefused:
        return
    assert header.data_start + header.data_bytes == path.stat().st_size


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=st.dictionaries(st.sampled_from(["a", "__metadata__", ""]), json_values | st.just(ONE["a"])))
def test_any_json_is_read_or_refused_and_nothing_else(tmp_path: Path, value: dict[str, Any]) -> None:
    path = write(tmp_path / "x", raw_file(json.dumps(value).encode(), bytes(12)))
    try:
        header = read(path)
    except AdapterRefused:
        return
    assert header.data_bytes == 12
