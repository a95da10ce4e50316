"""Takes the table of fields, gives JSON Schemas: of what requests say, and of what replies hold."""

from __future__ import annotations

from typing import Any

from sdxl_gateway.api.asks.fields import MAX_IMAGES, MAX_LORAS, Field, Kind, fields_of, wire_fields
from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.limits import LORA_WEIGHT

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
MAYBE_WHOLE: Schema = {"type": ["integer", "null"]}
WARMTH: Schema = {"enum": ["warm", "cold"]}


def body_schema(limits: Limits, operation: Operation, *, form: bool) -> Schema:
    """What one operation reads, as JSON or as a form. Unknown fields are ignored unless the server is strict."""
    properties: Schema = {}
    required = []
    for field in fields_of(wire_fields(limits), operation):
        schema = _field_schema(field, form=form)
        for spelling in field.spellings:
            properties[spelling] = schema
        # An image may come under another spelling, so only the prompt can be demanded by name.
        if operation in field.required and field.kind is Kind.TEXT:
            required.append(field.name)
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _field_schema(field: Field, *, form: bool) -> Schema:
    described = {"description": field.about + (" An extension of OpenAI's API." if field.extension else "")}
    if field.kind is Kind.IGNORED:
        return described
    schema = _value_schema(field, form=form)
    if not form and "type" in schema:
        schema["type"] = [schema["type"], "null"]
    if not form and "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    return schema | described


def _value_schema(field: Field, *, form: bool) -> Schema:
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
        case Kind.CHOICE:
            return {"type": "string", "enum": list(field.choices)}
        case Kind.LORAS:
            return {"anyOf": [{"type": "array", "items": ref("LoraEntry"), "maxItems": MAX_LORAS}, {"type": "string"}]}
        case Kind.PICTURE:
            return file() if form else ref("ImageReference")
        case _:
            one = file() if form else ref("ImageReference")
            return {"anyOf": [one, {"type": "array", "items": one, "maxItems": MAX_IMAGES}]}


def _bound(value: float) -> float:
    return int(value) if value == int(value) else value


def file() -> Schema:
    """A file's bytes, as a part of a form."""
    return {"type": "string", "contentMediaType": "application/octet-stream"}


def named_schemas() -> Schema:
    """What `ref` points at."""
    return {
        "Error": _object({"error": _object({"message": TEXT, "type": TEXT, "param": MAYBE_TEXT, "code": MAYBE_TEXT})}),
        "LoraEntry": _lora_entry(),
        "ImageReference": _image_reference(),
        "ImagesResponse": _images_response(),
        "Usage": _usage(),
        "Model": _model(),
        "Lora": _lora(),
    }


def _lora_entry() -> Schema:
    weight = {"type": "number", "minimum": -LORA_WEIGHT, "maximum": LORA_WEIGHT}
    entry = _object(
        {"name": TEXT, "weight": weight, "text_encoder_weight": weight}, optional=("weight", "text_encoder_weight")
    )
    return {"anyOf": [entry, {"type": "string", "description": "`name` or `name:0.8`"}]}


def _image_reference() -> Schema:
    encoded = {"type": "string", "description": "A data URL, or base64."}
    return {"anyOf": [encoded, _object({"image_url": {"type": "string", "description": "A data URL."}})]}


def _images_response() -> Schema:
    image = _object(
        {"b64_json": TEXT, "url": TEXT, "seed": WHOLE, "recipe": {"type": "object"}}, optional=("b64_json", "url")
    )
    return _object(
        {
            "created": WHOLE,
            "data": _array(image),
            "background": {"enum": ["opaque"]},
            "output_format": {"enum": ["png", "jpeg", "webp"]},
            "quality": {"enum": ["low", "medium", "high", "max"]},
            "size": TEXT,
            "safety_identifier": TEXT,
            "usage": ref("Usage"),
        },
        optional=("safety_identifier",),
    )


def _usage() -> Schema:
    tokens = _object({"text_tokens": WHOLE, "image_tokens": WHOLE})
    return _object(
        {
            "input_tokens": WHOLE,
            "input_tokens_details": tokens,
            "output_tokens": WHOLE,
            "output_tokens_details": tokens,
            "total_tokens": WHOLE,
        }
    )


def _model() -> Schema:
    return _object(
        {
            "id": TEXT,
            "object": {"const": "model"},
            "created": WHOLE,
            "owned_by": TEXT,
            "kind": {"enum": ["checkpoint", "alias", "style", "lora", "blend"]},
            "description": TEXT,
            "ready": WARMTH,
        }
    )


def _lora() -> Schema:
    """What stands in a list is always there; what the report needs the file for comes with one LoRA alone."""
    recommended = {"steps": MAYBE_WHOLE, "guidance_scale": {"type": ["number", "null"]}, "sampler": MAYBE_TEXT}
    listed = {
        "id": TEXT,
        "object": {"const": "lora"},
        "name": TEXT,
        "created": WHOLE,
        "digest": MAYBE_TEXT,
        "bytes": WHOLE,
        "dtype": TEXT,
        "base_family": MAYBE_TEXT,
        "weight": NUMBER,
        "trigger_words": _array(TEXT),
        "recommended": _object(recommended),
        "description": TEXT,
        "ready": WARMTH,
        "tier": TEXT,
        "last_used": MAYBE_WHOLE,
        "metadata": {"type": "object", "additionalProperties": TEXT},
    }
    alone = {"usable": {"type": "boolean"}, "problem": TEXT, "checkpoint": TEXT, "report": {"type": "object"}}
    return _object(listed | alone, optional=tuple(alone))


def ref(name: str) -> Schema:
    """A schema among `named_schemas`."""
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(name: str) -> Schema:
    """OpenAI's lists, which are always whole here."""
    return _object({"object": {"const": "list"}, "data": _array(ref(name)), "has_more": {"const": False}})


def lora_list() -> Schema:
    """LoRAs, and the files that are none."""
    problem = _object({"file": TEXT, "code": TEXT, "message": TEXT})
    listed = {"object": {"const": "list"}, "data": _array(ref("Lora")), "problems": _array(problem)}
    return _object({**listed, "has_more": {"const": False}})


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _object(properties: Schema, *, optional: tuple[str, ...] = ()) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }
