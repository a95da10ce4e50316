"""Reads the JSON that creates a batch, and the lines of its input file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdxl_gateway.api.asks.expiry import read_expiry
from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.keys import refuse_unknown
from sdxl_gateway.api.asks.values import choice, clean, missing, text, wrong_type
from sdxl_gateway.api.http.json_body import parse_json
from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.batch import NewBatch
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.gateway.batch_lines import BatchLine

ENDPOINTS = {"/v1/images/generations": Operation.GENERATE, "/v1/images/edits": Operation.EDIT}
MOST_PAIRS = 16
_FILE = Field("input_file_id", Kind.TEXT, "The file of requests.", max_chars=64)
_ENDPOINT = Field("endpoint", Kind.CHOICE, "What all requests ask.", choices=tuple(ENDPOINTS))
_WINDOW = Field("completion_window", Kind.CHOICE, "How long it may take.", choices=("24h",))
_KEY = Field("metadata", Kind.TEXT, "A key.", max_chars=64)
_VALUE = Field("metadata", Kind.TEXT, "A value.", max_chars=512)
_CUSTOM_ID = Field("custom_id", Kind.TEXT, "The caller's name for a request.", max_chars=512)
_BATCH = frozenset({"input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after"})
_LINE = frozenset({"custom_id", "method", "url", "body"})


def read_batch(given: Mapping[str, Any], base_url: str) -> NewBatch:
    """The requested batch; the URLs of its pictures begin with `base_url`. Raises InvalidRequest naming the field."""
    refuse_unknown(given, _BATCH)
    for name in ("input_file_id", "endpoint", "completion_window"):
        if given.get(name) in (None, ""):
            raise missing(name, given=name in given)
    choice(_WINDOW, given["completion_window"], "completion_window")
    return NewBatch(
        input_file=text(_FILE, given["input_file_id"], "input_file_id"),
        endpoint=choice(_ENDPOINT, given["endpoint"], "endpoint"),
        base_url=base_url,
        metadata=_metadata(given.get("metadata")),
        file_seconds=read_expiry(given.get("output_expires_after"), "output_expires_after"),
    )


def _metadata(given: Any) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise wrong_type("metadata", "an object", given)
    if len(given) > MOST_PAIRS:
        raise InvalidRequest(f"'metadata' has at most {MOST_PAIRS} pairs.", param="metadata")
    return {text(_KEY, key, "metadata"): text(_VALUE, value, f"metadata.{key[:64]}") for key, value in given.items()}


def read_line(number: int, line: bytes, endpoint: str) -> BatchLine:
    """One request of a batch for `endpoint`; its body is only parsed when it is run. Raises InvalidRequest."""
    given = _object(line)
    refuse_unknown(given, _LINE)
    for name in ("custom_id", "method", "url", "body"):
        if given.get(name) in (None, ""):
            raise missing(name, given=name in given)
    custom_id = text(_CUSTOM_ID, given["custom_id"], "custom_id")
    if given["method"] != "POST":
        raise InvalidRequest("Only 'POST' is supported.", param="method", code="invalid_method")
    if given["url"] != endpoint:
        raise InvalidRequest(f"The url is not the batch's endpoint, '{endpoint}'.", param="url", code="invalid_url")
    body = given["body"]
    if not isinstance(body, dict):
        raise wrong_type("body", "an object", body)
    model = body.get("model")
    return BatchLine(number, custom_id, clean(model, "body.model")[:200] if isinstance(model, str) else "", body)


def _object(line: bytes) -> dict[str, Any]:
    """The line's JSON object. Raises InvalidRequest with OpenAI's own message."""
    try:
        found = parse_json(bytearray(line))
    except InvalidRequest:
        raise InvalidRequest("This line is not parseable as valid JSON.", code="invalid_json_line") from None
    if not isinstance(found, dict):
        raise InvalidRequest("This line is no JSON object.", code="invalid_type")
    return found
