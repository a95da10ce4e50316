"""A batch's file is read line by line: all that is wrong with it is told with the line's number."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sdxl_gateway.api.asks.batches import read_line
from sdxl_gateway.gateway.batch_lines import MOST_ERRORS, BatchLine, Checked, check, split_lines, whole_lines

ENDPOINT = "/v1/images/generations"


def request(custom_id: str = "a", **said: Any) -> bytes:
    line = {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": {"prompt": "a cat"}}
    return json.dumps({key: value for key, value in (line | said).items() if value is not ...}).encode()


def checked(*lines: bytes, most_lines: int = 100, most_line_bytes: int = 1000) -> tuple[Checked, list[bytes]]:
    kept: list[bytes] = []

    def read(number: int, line: bytes) -> BatchLine:
        return read_line(number, line, ENDPOINT)

    pieces = [b"\n".join(lines)]
    return check(pieces, read, kept.append, most_lines=most_lines, most_line_bytes=most_line_bytes), kept


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_lines_are_found_however_the_pieces_fall(size: int) -> None:
    data = b"one\r\n\n  \ntwo is long\nthree\n\nfour"
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert list(split_lines(pieces, 5)) == [(1, b"one\r"), (4, None), (5, b"three"), (7, b"four")]
    assert list(whole_lines(pieces)) == [b"one\r", b"two is long", b"three", b"four"]


def test_a_line_without_an_end_is_never_held() -> None:
    held = split_lines((b"x" * 1000 for _ in range(1000)), 10)
    assert list(held) == [(1, None)]


def test_a_good_file_is_kept_line_by_line() -> None:
    lines = [request("a"), request("b", body={"prompt": "b", "model": "demo"})]
    found, kept = checked(*lines, b"")
    assert (found, kept) == (Checked(2, None, ()), [line + b"\n" for line in lines])
    assert checked(lines[1])[0] == Checked(1, "demo", ())


@pytest.mark.parametrize(
    ("line", "code", "param"),
    [
        (b"{", "invalid_json_line", None),
        (b"[]", "invalid_type", None),
        (b'{"a": NaN}', "invalid_json_line", None),
        (b"\xff\xfe", "invalid_json_line", None),
        (request(custom_id=...), "missing_required_parameter", "custom_id"),  # type: ignore[arg-type]
        (request(""), "missing_required_parameter", "custom_id"),
        (request(1), "invalid_type", "custom_id"),  # type: ignore[arg-type]
        (request("a" * 513), "string_above_max_length", "custom_id"),
        (request("first"), "duplicate_custom_id", "custom_id"),
        (request(method="GET"), "invalid_method", "method"),
        (request(method=...), "missing_required_parameter", "method"),
        (request(url="/v1/images/edits"), "invalid_url", "url"),
        (request(body=[]), "invalid_type", "body"),
        (request(body=...), "missing_required_parameter", "body"),
        (request(also=1), "unknown_parameter", "also"),
        (request(body={"prompt": "x" * 1000}), "line_too_long", None),
    ],
    ids=str,
)
def test_a_wrong_line_is_told_by_its_number(line: bytes, code: str, param: str | None) -> None:
    found, _ = checked(request("first"), b"", line, request("last"))
    assert [(error.line, error.code, error.param) for error in found.errors] == [(3, code, param)]


def test_many_wrong_lines_are_told_up_to_a_hundred() -> None:
    found, _ = checked(*[b"{"] * 300)
    assert len(found.errors) == MOST_ERRORS


def test_a_file_without_a_request_and_one_with_too_many_are_told_as_a_whole() -> None:
    for lines, code in (([b"", b"  "], "empty_file"), ([request(str(i)) for i in range(5)], "too_many_lines")):
        found, _ = checked(*lines, most_lines=4)
        assert [(error.line, error.code) for error in found.errors] == [(None, code)]
