"""Takes the Python types of replies, gives their JSON Schemas, so that a reply is described by what it is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from sdxl_gateway.api.http.route import Schema

PLACE = "#/components/schemas/{model}"


class _Untitled(GenerateJsonSchema):
    """Without titles of properties, which only repeat their names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


@cache
def schemas_of(types: tuple[Any, ...]) -> tuple[Mapping[Any, Schema], Schema]:
    """For each type the schema to use where it stands, and the named schemas these point at; read, never changed."""
    found, whole = TypeAdapter.json_schemas(
        [(one, "serialization", TypeAdapter(one)) for one in types], ref_template=PLACE, schema_generator=_Untitled
    )
    return {one: schema for (one, _), schema in found.items()}, whole.get("$defs", {})
