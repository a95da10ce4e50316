"""The header reader believes nothing: every attack file is refused in plain words, every good file read exactly."""

from __future__ import annotations

import json
import os
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdxl_gateway.catalog.safetensors_header import DTYPE_BYTES, Header, read_header
from sdxl_gateway.core.errors import AdapterRefused
from tests.catalog.files import file_bytes, make_header, raw_file, write

ONE = {"a": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}}


def read(path: Path, max_header_bytes: int = 2**20, max_tensors: int = 100) -> Header:
    return read_header(path, max_header_bytes=max_header_bytes, max_tensors=max_tensors)


def tensor(dtype: Any = "F16", shape: Any = (2, 3), offsets: Any = (0, 12)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


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


ATTACKS: dict[str, tuple[bytes, str]] = {
    "empty file": (b"", "too short"),
    "seven bytes": (b"\0" * 7, "too short"),
    "length only": (struct.pack("<Q", 0), "not a JSON object"),
    "length beyond the file": (raw_file(b"{}", length=100), "cut short"),
    "huge length": (raw_file(b"{}", length=2**64 - 1), "cut short"),
    "pickle": (b"\x80\x02}q\x00." + b"\0" * 64, "cut short"),
    "zip": (b"PK\x03\x04" + b"\0" * 64, "cut short"),
    "header not UTF-8": (raw_file(b'{"\xff": 1}'), "not UTF-8"),
    "UTF-16 header": (raw_file('{"a":1}'.encode("utf-16")), "not a JSON object"),
    "byte order mark": (raw_file(b"\xef\xbb\xbf{}"), "not a JSON object"),
    "header is a list": (raw_file(b"[]"), "not a JSON object"),
    "broken JSON": (raw_file(b'{"a": '), "not valid JSON"),
    "deep nesting": (raw_file(b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"), "not valid JSON"),
    "text behind the JSON": (raw_file(b"{} {}"), "not valid JSON"),
    "NaN": (raw_file(b'{"a":{"dtype":"F16","shape":[NaN],"data_offsets":[0,2]}}', b"\0\0"), "whole"),
    "Infinity": (raw_file(b'{"a":{"dtype":"F16","shape":[Infinity],"data_offsets":[0,2]}}', b"\0\0"), "whole"),
    "1e999": (raw_file(b'{"a":{"dtype":"F16","shape":[1e999],"data_offsets":[0,2]}}', b"\0\0"), "whole"),
    "a float shape": (raw_file(b'{"a":{"dtype":"F16","shape":[1.0],"data_offsets":[0,2]}}', b"\0\0"), "whole"),
    "number of 5000 digits": (raw_file(b'{"a":' + b"9" * 5000 + b"}"), "not valid JSON"),
    "duplicate tensor": (raw_file(b'{"a":1,"a":2}'), "twice"),
    "duplicate key inside": (raw_file(b'{"a":{"dtype":"F16","dtype":"F32"}}'), "twice"),
    "no tensors": (raw_file({}), "no tensors"),
    "metadata only": (raw_file({"__metadata__": {}}), "no tensors"),
    "metadata not text": (raw_file({"__metadata__": {"a": 1}} | ONE, bytes(12)), "other than text"),
    "metadata a list": (raw_file({"__metadata__": []} | ONE, bytes(12)), "not a JSON object"),
    "half a surrogate": (raw_file({"__metadata__": {"a": "\ud800"}} | ONE, bytes(12)), "Unicode"),
    "unknown type": (raw_file({"a": tensor("F4")}, bytes(12)), "type that is not read"),
    "type a list": (raw_file({"a": tensor(["F16"])}, bytes(12)), "type that is not read"),
    "negative side": (raw_file({"a": tensor(shape=[-2, -3])}, bytes(12)), "impossible shape"),
    "side is true": (raw_file({"a": tensor(shape=[True, 6])}, bytes(12)), "impossible shape"),
    "side is text": (raw_file({"a": tensor(shape=["2", 3])}, bytes(12)), "impossible shape"),
    "nine sides": (raw_file({"a": tensor(shape=[1] * 9)}, bytes(2)), "impossible shape"),
    "overflowing shape": (raw_file({"a": tensor(shape=[2**62, 8])}, bytes(12)), "impossible shape"),
    "negative offset": (raw_file({"a": tensor(offsets=[-12, 0])}, bytes(12)), "impossible offsets"),
    "three offsets": (raw_file({"a": tensor(offsets=[0, 6, 12])}, bytes(12)), "impossible offsets"),
    "end before start": (raw_file({"a": tensor(offsets=[12, 0])}, bytes(12)), "does not follow"),
    "size larger than the shape": (raw_file({"a": tensor(offsets=[0, 14])}, bytes(14)), "does not follow"),
    "size smaller than the shape": (raw_file({"a": tensor(offsets=[0, 10])}, bytes(10)), "does not follow"),
    "extra key": (raw_file({"a": tensor() | {"x": 1}}, bytes(12)), "not described"),
    "missing key": (raw_file({"a": {"dtype": "F16"}}, bytes(12)), "not described"),
    "entry is a number": (raw_file({"a": 3}), "not described"),
    "overlap": (raw_file({"a": tensor(), "b": tensor(offsets=[6, 18])}, bytes(18)), "overlap or leave gaps"),
    "one place for two": (raw_file({"a": tensor(), "b": tensor()}, bytes(12)), "overlap or leave gaps"),
    "gap": (raw_file({"a": tensor(), "b": tensor(offsets=[14, 26])}, bytes(26)), "overlap or leave gaps"),
    "does not begin at 0": (raw_file({"a": tensor(offsets=[2, 14])}, bytes(14)), "overlap or leave gaps"),
    "beyond the file": (raw_file(ONE, bytes(11)), "cut short"),
    "bytes behind the tensors": (raw_file(ONE, bytes(13)), "belong to no tensor"),
    "empty name": (raw_file({"": tensor()}, bytes(12)), "not printable"),
    "NUL in a name": (raw_file({"a\0b": tensor()}, bytes(12)), "not printable"),
    "line break in a name": (raw_file({"a\nb": tensor()}, bytes(12)), "not printable"),
    "surrogate in a name": (raw_file({"\udc80": tensor()}, bytes(12)), "not printable"),
    "very long name": (raw_file({"a" * 513: tensor()}, bytes(12)), "longer than 512"),
}


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
