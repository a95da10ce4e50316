"""Takes the table of fields, gives the JSON Schemas of requests."""

from __future__ import annotations

from typing import get_args

from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.fields import MAX_IMAGES, MAX_LORAS, fields_of, wire_fields
from sdxl_gateway.api.asks.padding import EDGES
from sdxl_gateway.api.http.route import Schema
from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.limits import CONTROL_WEIGHT, LONGEST_SIDE, LORA_WEIGHT, REFERENCE_WEIGHT, REFERENCES
from sdxl_gateway.core.recipe import Preprocessor


def body_schema(limits: Limits, operation: Operation, *, form: bool) -> Schema:
    """What one operation reads, as JSON or as a form. Unknown fields are ignored unless the server is strict."""
    properties: Schema = {}
    required = []
    for field in fields_of(wire_fields(limits), operation):
        schema = _field_schema(field, form=form)
        properties[field.name] = schema
        for spelling in field.aliases:
            properties[spelling] = schema | {"x-alias-of": field.name}
        # An image may come under another spelling, so only the prompt can be demanded by name.
        if operation in field.required and field.kind is Kind.TEXT:
            required.append(field.name)
    # A recipe brings a prompt along.
    demanded = {"anyOf": [{"required": required}, {"required": ["recipe"]}]} if required else {}
    return {"type": "object", "properties": properties, **demanded}


def _field_schema(field: Field, *, form: bool) -> Schema:
    described: Schema = {"description": field.about}
    if field.extension:
        described = {"description": f"{field.about} An extension of OpenAI's API.", "x-extension": True}
    if field.kind is Kind.IGNORED:
        return described
    schema = value_schema(field, form=form)
    if not form and "type" in schema:
        schema["type"] = [schema["type"], "null"]
    if not form and "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    return schema | described


def value_schema(field: Field, *, form: bool = False) -> Schema:
    """What the field's value may be."""
    bounds = {
        key: _bound(value) for key, value in (("minimum", field.low), ("maximum", field.high)) if value is not None
    }
    match field.kind:
        case Kind.TEXT:
            return {"type": "string", "maxLength": field.max_chars}
        case Kind.INTEGER | Kind.NUMBER:
            return {"type": str(field.kind), **bounds}
        case Kind.FLAG:
            return {"type": "boolean"}
        case Kind.SWITCH:
            return {"anyOf": [{"type": "boolean"}, {"type": "string", "maxLength": field.max_chars}]}
        case Kind.CHOICE:
            return {"type": "string", "enum": list(field.choices)}
        case Kind.LORAS:
            return {"anyOf": [{"type": "array", "items": ref("LoraEntry"), "maxItems": MAX_LORAS}, {"type": "string"}]}
        case Kind.PADDING:
            return {"anyOf": [side(), {"type": "object", "properties": dict.fromkeys(EDGES, side())}]}
        case Kind.CONTROLS:
            entries = {"type": "array", "items": ref("ControlEntry"), "maxItems": int(field.high or 0)}
            return {"anyOf": [entries, {"type": "string", "description": "The same as JSON, or one type."}]}
        case Kind.RECIPE:
            return {"anyOf": [{"type": "object"}, {"type": "string", "contentMediaType": "application/json"}]}
        case Kind.LEVEL:
            return {"anyOf": [{"type": "string", "enum": list(field.choices)}, {"type": "number", **bounds}]}
        case Kind.REFERENCES:
            one = ref("ReferenceEntry")
            return {"anyOf": [{"type": "array", "items": one, "maxItems": REFERENCES}, {"type": "string"}]}
        case Kind.PICTURE:
            return file() if form else ref("ImageReference")
        case _:
            one = file() if form else ref("ImageReference")
            return {"anyOf": [one, {"type": "array", "items": one, "maxItems": MAX_IMAGES}]}


def _bound(value: float) -> float:
    return int(value) if value == int(value) else value


def side() -> Schema:
    """A number of pixels."""
    return {"type": "integer", "minimum": 0, "maximum": LONGEST_SIDE}


def file() -> Schema:
    """A file's bytes, as a part of a form."""
    return {"type": "string", "contentMediaType": "application/octet-stream"}


def named_schemas() -> Schema:
    """What `ref` points at in requests."""
    return {
        "LoraEntry": _lora_entry(),
        "ControlEntry": _control_entry(),
        "ReferenceEntry": _reference_entry(),
        "ImageReference": _image_reference(),
    }


def _lora_entry() -> Schema:
    weight = {"type": "number", "minimum": -LORA_WEIGHT, "maximum": LORA_WEIGHT}
    about = "Factors for the text encoders and each block of the UNet: 12 (those with attention) or 20 (all)."
    blocks = {"type": "array", "items": weight, "minItems": 12, "maxItems": 20, "description": about}
    entry = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "weight": weight, "text_encoder_weight": weight, "blocks": blocks},
        "required": ["name"],
    }
    return {"anyOf": [entry, {"type": "string", "description": "`name` or `name:0.8`"}]}


def _control_entry() -> Schema:
    share = {"type": "number", "minimum": 0, "maximum": 1}
    return {
        "type": "object",
        "properties": {
            "type": {"type": "string", "description": "A type among the model's capabilities."},
            "image": ref("ImageReference") | {"description": "The picture to follow, unless `control_image` has it."},
            "weight": {"type": "number", "minimum": 0, "maximum": CONTROL_WEIGHT},
            "start": share | {"description": "The share of the steps before which it is off."},
            "end": share | {"description": "The share of the steps after which it is off."},
            "mode": {"type": ["string", "integer"], "description": "What the picture shows; for unions."},
            "preprocess": {"anyOf": [{"type": "boolean"}, {"type": "string", "enum": list(get_args(Preprocessor))}]},
            "digest": {
                "type": "string",
                "description": "Its file's digest; a 409 if the ControlNet's file is another.",
            },
        },
        "required": ["type"],
    }


def _reference_entry() -> Schema:
    weight = {"type": "number", "minimum": 0, "maximum": REFERENCE_WEIGHT}
    image = ref("ImageReference") | {"description": "The picture, unless `reference_image` has it."}
    return {"anyOf": [{"type": "object", "properties": {"image": image, "weight": weight}}, ref("ImageReference")]}


def _image_reference() -> Schema:
    encoded = {"type": "string", "description": "A data URL, base64, or an address as in `image_url`."}
    url = {"type": "string", "description": "A data URL, or an http(s) address where the server fetches images."}
    file_id = {"type": "string", "description": "The id of a file of the purpose `vision`."}
    return {"anyOf": [encoded, _holding("image_url", url), _holding("file_id", file_id)]}


def _holding(key: str, value: Schema) -> Schema:
    return {"type": "object", "properties": {key: value}, "required": [key]}


def ref(name: str) -> Schema:
    """A schema among `named_schemas`."""
    return {"$ref": f"#/components/schemas/{name}"}
