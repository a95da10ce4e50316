"""Tests api/http/large_json.py: what it gives is what json gives, and what is too much of anything is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_gateway.api.http import large_json
from sdxl_gateway.api.http.large_json import TooMuch, parse_large

LONG = "QUJD" * 2000
TEXTS = st.one_of(st.text(), st.text(alphabet='\\"/a\n\x7fé'), st.just(LONG), st.just(LONG + "\n" + LONG))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=9), inner, max_size=4)),
    max_leaves=12,
)


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_gives_what_json_gives(value: Any, ascii_only: bool, indent: int | None) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    try:
        expected = json.loads(body.decode())
    except UnicodeDecodeError:
        return
    assert parse_large(bytearray(body), json.loads) == expected


@given(st.text(alphabet='{}[],:"\\u0é a\n', max_size=60))
def test_refuses_what_json_refuses(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            parse_large(bytearray(text.encode()), json.loads)
    else:
        assert parse_large(bytearray(text.encode()), json.loads) == expected


ESCAPED = [
    (LONG + "/" * 50).replace("/", "\\/"),
    LONG + "\\r\\n" + LONG,
    LONG + "\\u002B",
    LONG + "\\u00e9",
    "\\\\" * 5000,
    "\\n" * 5000,
    '\\"' * 5000,
    LONG + "\\u4e00",
    LONG + "\\ud83d\\ude00",
    LONG + "é",
    LONG + "😀",
    LONG + "\\\\u12",
]


@pytest.mark.parametrize("text", ESCAPED, ids=lambda text: text[-8:])
@pytest.mark.parametrize("piece", [7, 64, 2**20])
def test_long_texts_may_hold_escapes(text: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_json, "_PIECE_BYTES", piece)
    body = f'{{"a": ["{text}", 1], "b": "{text}"}}'.encode()
    assert parse_large(bytearray(body), json.loads) == json.loads(body)


BAD = [LONG + "\n", LONG + "\\x", LONG + "\\", LONG + "\\u00", LONG + "\0"]


@pytest.mark.parametrize("text", BAD, ids=lambda text: ascii(text[-4:]))
def test_long_texts_that_are_no_json_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)(invalid|expecting|unterminated)"):
        parse_large(bytearray(f'{{"a": "{text}"}}'.encode()), json.loads)


@pytest.mark.parametrize("body", ['"' + LONG, '"' + LONG + '\\"', '{"a": "' + LONG + '\\\\\\"}'])
def test_a_text_without_an_end_is_refused(body: str) -> None:
    with pytest.raises(json.JSONDecodeError, match="Unterminated"):
        parse_large(bytearray(body.encode()), json.loads)


def test_each_of_many_long_texts_comes_back_where_it_was() -> None:
    said = {"prompt": "日本 😀", "images": [{"image_url": str(index) * 9000} for index in range(10)]}
    assert parse_large(bytearray(json.dumps(said, ensure_ascii=False).encode()), json.loads) == said


TOO_MUCH = {
    "values": b"[" + b"[]," * 10_000 + b"0]",
    "keys": b"{" + b",".join(b'"%d":0' % index for index in range(10_001)) + b"}",
    "quotation marks": b'["' + b'\\"' * 100_000 + b'"]',
    "bytes": b'["' + "é".encode() * 2**20 + b'"]',
    "bytes of space": b"[" + b" " * 2**22 + b"]",
    "a long key": b'{"' + b"a" * 5000 + b'": 1}',
}


@pytest.mark.parametrize("body", TOO_MUCH.values(), ids=TOO_MUCH)
def test_too_much_of_anything_is_refused(body: bytes) -> None:
    with pytest.raises(TooMuch):
        parse_large(bytearray(body), json.loads)
