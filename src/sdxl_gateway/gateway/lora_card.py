"""What callers are told of a LoRA; the library makes these, and the API's document takes its schemas from them."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

Warmth = Literal["warm", "cold"]


class Recommended(TypedDict):
    """What the author of a LoRA or a checkpoint advises; null where nothing is advised."""

    steps: int | None
    guidance_scale: float | None
    sampler: str | None
    schedule: str | None
    eta: float | None
    clip_skip: int | None


class Lora(TypedDict):
    """What a list holds is always there; what a report needs the file for comes with one LoRA alone.

    `created` and `last_used` are unix seconds, `digest` is known once the file was read for the first time.
    """

    id: str
    object: Literal["lora"]
    name: str
    created: int
    digest: str | None
    bytes: int
    dtype: str
    base_family: str | None
    weight: float
    trigger_words: list[str]
    recommended: Recommended
    description: str
    ready: Warmth
    tier: str
    last_used: int | None
    metadata: dict[str, str]
    usable: NotRequired[bool]
    problem: NotRequired[str]
    checkpoint: NotRequired[str]
    report: NotRequired[dict[str, Any]]


class LoraProblem(TypedDict):
    """A file in the folder of LoRAs or of embeddings that cannot be used, or not wholly, and why."""

    file: str
    code: str
    message: str
