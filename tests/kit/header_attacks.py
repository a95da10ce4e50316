"""Malicious safetensors headers, each with words of its refusal."""

from __future__ import annotations

import struct
from typing import Any

from tests.kit.lora_files import raw_file

ONE = {"a": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}}


def tensor(dtype: Any = "F16", shape: Any = (2, 3), offsets: Any = (0, 12)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


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
