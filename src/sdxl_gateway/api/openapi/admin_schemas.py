"""Takes the fields of what operators say of keys and reviews, gives the JSON Schemas of these requests."""

from __future__ import annotations

from sdxl_gateway.api.asks import keys, reviews
from sdxl_gateway.api.asks.field import Field
from sdxl_gateway.api.asks.webhooks import WEBHOOK_URL
from sdxl_gateway.api.http.route import Schema
from sdxl_gateway.api.openapi.schemas import value_schema
from sdxl_gateway.core.allowance import LIMIT_NAMES


def new_key_schema() -> Schema:
    """A key to be made."""
    return _exact({"tenant": _told(keys.TENANT), "roles": _several(keys.ROLES), **_changeable()}, required=["tenant"])


def key_change_schema() -> Schema:
    """What is to change of a key; null is as if it had never been said."""
    return _exact(_changeable())


def rotation_schema() -> Schema:
    """How long the old key stays valid."""
    return _exact({keys.GRACE_SECONDS.name: _told(keys.GRACE_SECONDS)})


def decision_schema() -> Schema:
    """What becomes of a picture."""
    return _exact({"decision": _told(reviews.DECISION), "note": _told(reviews.NOTE)}, required=["decision"])


def appeal_schema() -> Schema:
    """Why a decision is wrong."""
    return _exact({"text": _told(reviews.TEXT)}, required=["text"])


def _changeable() -> Schema:
    limits = _exact({name: value_schema(keys.LIMIT) for name in LIMIT_NAMES})
    return {
        "name": _told(keys.NAME),
        "models": _several(keys.GLOBS),
        "loras": _several(keys.GLOBS),
        "priority": _told(keys.PRIORITY),
        "expires_in": _or_null(_told(keys.EXPIRES_IN)),
        "limits": _or_null(limits | {"description": keys.LIMIT.about}),
        "safety": _or_null(_told(keys.SAFETY)),
        "webhook_url": _or_null(value_schema(WEBHOOK_URL) | {"description": "The address to call when its jobs end."}),
    }


def _told(field: Field) -> Schema:
    return value_schema(field) | {"description": field.about}


def _several(field: Field) -> Schema:
    items = value_schema(field)
    return {"type": "array", "items": items, "minItems": 1, "maxItems": keys.MOST_GLOBS, "description": field.about}


def _or_null(schema: Schema) -> Schema:
    choices = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return schema | {"type": [schema["type"], "null"]} | choices


def _exact(properties: Schema, required: list[str] | None = None) -> Schema:
    """Nothing else is read."""
    demanded = {"required": required} if required else {}
    return {"type": "object", "properties": properties, "additionalProperties": False, **demanded}
