"""Answers for each operation of the server's OpenAPI document, by its schemas, with a test's own texts."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.kit.pictures import PNG

Text = Callable[[str], str]
"""Returns a text for a property of that name."""
DEEPEST = 12


@dataclass
class SchemaAnswers:
    """All properties are set, lists have `items` items; `said` are values of properties that are not free text."""

    document: dict[str, Any]
    text: Text
    said: Mapping[str, Any] = field(default_factory=dict)
    items: int = 2

    def answer(self, verb: str, path: str) -> Any:
        """The answer as JSON; None if the document has no such operation."""
        replies = next(self._operations(verb.lower(), path), {}).get("responses", {})
        status = min((status for status in replies if status.startswith("2")), default=None)
        content = replies[status].get("content", {}) if status else {}
        schema = content.get("application/json", {}).get("schema")
        return None if schema is None else self._value(schema, "", 0, 0)

    def _operations(self, verb: str, path: str) -> Iterator[dict[str, Any]]:
        """The operations that match, those with the longest path and without parameters first."""
        for spelt in sorted(self.document["paths"], key=lambda one: ("{" in one, -len(one))):
            pattern = re.sub(r"\\{\w+\\}", ".+", re.escape(spelt))
            if re.fullmatch(pattern, path) and verb in self.document["paths"][spelt]:
                yield self.document["paths"][spelt][verb]

    def _value(self, schema: dict[str, Any], name: str, turn: int, depth: int) -> Any:
        if name in self.said:
            return self.said[name]
        if "$ref" in schema:
            return self._value(self.document["components"]["schemas"][schema["$ref"].split("/")[-1]], name, turn, depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][turn % len(schema["enum"])]
        if "anyOf" in schema:
            return self._value(next(one for one in schema["anyOf"] if one.get("type") != "null"), name, turn, depth)
        return self._of_type(schema, name, turn, depth)

    def _of_type(self, schema: dict[str, Any], name: str, turn: int, depth: int) -> Any:
        kinds: dict[str | None, Callable[[], Any]] = {
            "array": lambda: [self._value(schema["items"], name, place, depth + 1) for place in range(self.items)],
            "object": lambda: self._object(schema, turn, depth + 1) if depth < DEEPEST else {},
            "integer": lambda: max(schema.get("minimum", 0), turn + 1),
            "number": lambda: 0.5,
            "boolean": lambda: turn == 0,
            "null": lambda: None,
        }
        kind = schema.get("type")
        return kinds.get(kind if isinstance(kind, str) else kind and kind[0], lambda: self.text(name))()

    def _object(self, schema: dict[str, Any], turn: int, depth: int) -> dict[str, Any]:
        own = {key: self._value(one, key, turn, depth) for key, one in schema.get("properties", {}).items()}
        extra = schema.get("additionalProperties", not own)
        if not extra:
            return own
        return own | {self.text("key"): self.text("value") if extra is True else self._value(extra, "", turn, depth)}


def frames(kind: str, text: Text, steps: int = 2) -> str:
    """A stream of events for a picture, with steps as comments; `kind` is "image_generation" or "image_edit"."""
    picture = {"b64_json": base64.b64encode(PNG).decode(), "output_format": "png"}
    about = {name: text(name) for name in ("size", "quality", "background")}
    looks = [f": step {step} of {steps}\n\n" + _event(f"{kind}.partial_image", picture) for step in range(1, steps)]
    last = picture | about | {"seed": 7, "warnings": [text("warning")], "recipe": {"prompt": text("prompt")}}
    return ": queue position 1\n\n" + "".join(looks) + _event(f"{kind}.completed", last)


def _event(kind: str, data: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n"
