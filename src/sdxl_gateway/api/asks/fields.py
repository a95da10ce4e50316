"""The table of all fields of a request to paint, used by the parser and by the OpenAPI document."""

from __future__ import annotations

from sdxl_gateway.api.asks.field import EDIT, FROM_IMAGE, PROMPTED, Field, Kind
from sdxl_gateway.api.asks.picture_fields import picture_fields
from sdxl_gateway.api.asks.prompt_fields import prompt_fields
from sdxl_gateway.api.asks.sampling_fields import sampling_fields
from sdxl_gateway.api.asks.turn_fields import turn_fields
from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.limits import (
    ASPECT,
    LONGEST_SIDE,
    LORA_WEIGHT,
    REFERENCE_WEIGHT,
    REFERENCES,
    SHORTEST_SIDE,
    SIDE_UNIT,
)
from sdxl_gateway.core.recipe import Background

MAX_IMAGES = 16
MAX_LORAS = 64

QUALITIES = {
    "auto": None,
    "low": "low",
    "medium": "medium",
    "standard": "medium",
    "high": "high",
    "hd": "high",
    "xhigh": "max",
    "max": "max",
}
BACKGROUNDS: dict[str, Background | None] = {"auto": None, "opaque": "opaque", "transparent": "transparent"}
FORMATS = {"png": "png", "jpeg": "jpeg", "jpg": "jpeg", "webp": "webp"}


def wire_fields(limits: Limits) -> tuple[Field, ...]:
    """The whole table, with the operator's limits."""
    return (*_openai_fields(limits), *_extensions(limits), *_without_effect())


def fields_of(fields: tuple[Field, ...], operation: Operation) -> tuple[Field, ...]:
    """The rows that one operation reads."""
    return tuple(field for field in fields if operation in field.operations)


def _openai_fields(limits: Limits) -> tuple[Field, ...]:
    return (
        Field(
            "prompt",
            Kind.TEXT,
            "What to paint.",
            max_chars=limits.max_prompt_chars,
            required=PROMPTED,
        ),
        Field("model", Kind.TEXT, "A checkpoint, an alias, a LoRA, or a blend such as `sdxl+watercolor:0.8`."),
        Field("image", Kind.PICTURES, "The picture to start from.", FROM_IMAGE, ("images",), required=FROM_IMAGE),
        Field("mask", Kind.PICTURE, "Repaint where its alpha is 0; must have the first image's size.", EDIT),
        Field("markup", Kind.PICTURE, "A picture to be guided by, as one of `references`.", EDIT),
        Field(
            "input_fidelity",
            Kind.LEVEL,
            "The weight of references without one of their own: `low` is the server's default, `high` is 1; see "
            "also `strength`.",
            choices=("low", "high"),
            low=0,
            high=REFERENCE_WEIGHT,
        ),
        Field("n", Kind.INTEGER, "How many pictures.", low=1, high=10),
        Field(
            "size",
            Kind.TEXT,
            f"`auto` or `WxH`: sides divisible by {SIDE_UNIT}, {SHORTEST_SIDE} to {LONGEST_SIDE}, "
            f"aspect at most {ASPECT}:1.",
            max_chars=32,
        ),
        Field(
            "quality", Kind.CHOICE, "Decides the steps when `steps` is not given.", PROMPTED, choices=tuple(QUALITIES)
        ),
        Field(
            "background",
            Kind.CHOICE,
            "What is behind the subject; `transparent` needs a matte model on the server, and PNG or WebP. `auto` is "
            "opaque, unless the house style says otherwise.",
            choices=tuple(BACKGROUNDS),
        ),
        Field(
            "response_format",
            Kind.CHOICE,
            "Whether each picture comes as data or as an address; both when absent, unless the model name is one "
            "of OpenAI's.",
            choices=("url", "b64_json"),
        ),
        Field("output_format", Kind.CHOICE, "The encoding of the pictures.", choices=tuple(FORMATS)),
        Field("output_compression", Kind.INTEGER, "Quality of JPEG and WebP.", low=0, high=100),
        Field(
            "style",
            Kind.TEXT,
            "Text to add around the prompt: `vivid`, `natural`, or a style of this server.",
            PROMPTED,
        ),
        Field("stream", Kind.FLAG, "Answer as server-sent events; needs n=1.", PROMPTED),
        Field(
            "partial_images",
            Kind.INTEGER,
            "How many partial images to stream while the picture is painted.",
            PROMPTED,
            low=0,
            high=3,
        ),
        Field("safety_identifier", Kind.TEXT, "Your end user's id; the reply repeats it.", aliases=("user",)),
    )


def _extensions(limits: Limits) -> tuple[Field, ...]:
    return (
        *prompt_fields(limits),
        *sampling_fields(limits),
        *picture_fields(),
        *turn_fields(limits),
        Field(
            "loras",
            Kind.LORAS,
            "LoRAs put on top of the model: objects with `name` and `weight`, or strings `name:0.8`.",
            aliases=("lora",),
            extension=True,
        ),
        Field(
            "lora_scale",
            Kind.NUMBER,
            "The weight of entries of `loras` without one of their own.",
            low=-LORA_WEIGHT,
            high=LORA_WEIGHT,
            extension=True,
        ),
        Field(
            "controls",
            Kind.CONTROLS,
            "ControlNets to follow: objects with `type`, `image` and, if wanted, `weight`, `start`, `end`, `mode`, "
            "`preprocess`. In a form a JSON string.",
            high=limits.max_controls,
            extension=True,
        ),
        Field(
            "control_image",
            Kind.PICTURES,
            "Pictures for the entries of `controls` that have none, in their order.",
            aliases=("control_images",),
            extension=True,
        ),
        Field(
            "upscale",
            Kind.INTEGER,
            "Enlarge the picture by a net to 2 or 4 times `size` along each side.",
            low=1,
            high=4,
            extension=True,
        ),
        Field(
            "upscaler",
            Kind.TEXT,
            "The net to enlarge with, or `lanczos` for plain resampling.",
            max_chars=200,
            extension=True,
        ),
        Field(
            "detail",
            Kind.NUMBER,
            "How far to repaint an enlarged picture, tile by tile, on the scale of `strength`: 0.2 to 0.4 adds "
            "detail, 0 leaves it as enlarged.",
            low=0,
            high=1,
            extension=True,
        ),
        Field(
            "recipe",
            Kind.RECIPE,
            "A `recipe` of an earlier reply, to paint it again; other fields of the request override the recipe's.",
            extension=True,
        ),
        Field(
            "embed_recipe",
            Kind.FLAG,
            "Write prompt and settings into the file, in the form other tools read; the server's setting when absent.",
            extension=True,
        ),
        Field(
            "references",
            Kind.REFERENCES,
            f"Up to {REFERENCES} pictures to be guided by, each with a `weight`; an edit's further images too.",
            extension=True,
        ),
        Field(
            "reference_image",
            Kind.PICTURES,
            "Pictures for the entries of `references` that have none, in their order; further ones are "
            "references of the default weight. `reference_image[]` in a form.",
            aliases=("reference_images",),
            extension=True,
        ),
        Field(
            "width",
            Kind.INTEGER,
            "With `height`, another spelling of `size`.",
            low=SHORTEST_SIDE,
            high=LONGEST_SIDE,
            extension=True,
        ),
        Field(
            "height",
            Kind.INTEGER,
            "With `width`, another spelling of `size`.",
            low=SHORTEST_SIDE,
            high=LONGEST_SIDE,
            extension=True,
        ),
    )


def _without_effect() -> tuple[Field, ...]:
    """OpenAI's fields that have no effect here; clients send them by default."""
    return (
        Field("moderation", Kind.IGNORED, "Accepted, without effect.", PROMPTED),
        Field("complexity", Kind.IGNORED, "Accepted, without effect.", PROMPTED),
        Field("frame_count", Kind.IGNORED, "Accepted, without effect.", PROMPTED),
        Field("frame_duration_ms", Kind.IGNORED, "Accepted, without effect.", PROMPTED),
        Field("svg", Kind.IGNORED, "Accepted, without effect.", PROMPTED),
    )
