"""Values of `controls` that must be refused, with the field and the code of the refusal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.kit.pictures import DATA_URL

Refused = tuple[str, Any, str, str]
"""A name, the value, and the refusal's field and code."""
GOOD = {"type": "canny", "image": DATA_URL}


def bad_controls() -> Iterator[Refused]:
    value: Any
    for value in (7, True, 1.5):
        yield f"type/{value}", value, "controls", "invalid_type"
    for value in (7, None, [], True):
        yield f"entry/{value}", [GOOD, value], "controls[1]", "invalid_type"
    yield "json", "[{", "controls", "invalid_json"
    yield "json-deep", "[" * 100_000, "controls", "invalid_json"
    yield "count", [GOOD] * 5, "controls", "array_above_max_length"
    yield from _entries()


def _entries() -> Iterator[Refused]:
    """Errors in the second of two entries."""
    missing, kind = "missing_required_parameter", "invalid_type"
    below, above = "decimal_below_min_value", "decimal_above_max_value"
    changes: list[tuple[str, Any, str]] = [
        ("type", None, missing),
        ("type", "", missing),
        ("type", 5, kind),
        ("type", "x" * 201, "string_above_max_length"),
        ("type", "a\0", "invalid_value"),
        ("model", "depth", "invalid_value"),
        ("image", None, missing),
        ("image", 5, kind),
        ("image", "https://example.org/a.png", "invalid_image_url"),
        ("image", "data:image/png;base64,????", "invalid_base64_image"),
        ("image", "data:image/png;base64,aGVsbG8=", "invalid_image_file"),
        ("weight", "heavy", kind),
        ("weight", [1], kind),
        ("weight", True, kind),
        ("weight", -0.1, below),
        ("weight", 2.1, above),
        ("weight", 1e308, above),
        ("start", -0.1, below),
        ("start", 1.5, above),
        ("start", "soon", kind),
        ("end", 1.1, above),
        ("end", 0, "invalid_value"),
        ("mode", ["canny"], kind),
        ("mode", True, kind),
        ("mode", 1.5, kind),
        ("preprocess", "edges", "invalid_value"),
        ("preprocess", 5, "invalid_value"),
        ("preprocess", ["canny"], "invalid_value"),
        ("digest", 5, kind),
        ("digest", "0" * 63, "invalid_value"),
    ]
    for number, (key, value, code) in enumerate(changes):
        yield f"{key}/{number}", [GOOD, GOOD | {key: value}], f"controls[1].{key}", code
    yield "start-at-end", [GOOD | {"start": 0.5, "end": 0.5}], "controls[0].end", "invalid_value"
    yield "two-weights", [GOOD | {"weight": 1, "scale": 0.5}], "controls[0].scale", "invalid_value"
