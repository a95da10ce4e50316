"""Takes a LoRA and what engines have of it, gives what callers are told: the API's own schemas."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from sdxl_gateway.catalog.lora_folder.scan import LoraEntry

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

    `created` and `last_used` are unix seconds, `digest` is known once the file was read for the first time. `dialect`
    and `ranks` are null and empty where no checkpoint is there to plan it for. `tier` is the nearest place an engine
    has it, and `on` says that it is in the weights of one. `side_car` is what the one beside the file says. One that is
    not `in_folder` came with the server, and stays as it is; one that is `shared` with other servers through a bucket
    can be removed, and its side-car stays as it is.
    """

    id: str
    object: Literal["lora"]
    name: str
    created: int
    digest: str | None
    bytes: int
    dtype: str
    base_family: str | None
    dialect: str | None
    ranks: list[int]
    weight: float
    trigger_words: list[str]
    recommended: Recommended
    description: str
    ready: Warmth
    tier: str
    on: bool
    in_folder: bool
    shared: bool
    last_used: int | None
    metadata: dict[str, str]
    side_car: dict[str, Any]
    usable: NotRequired[bool]
    problem: NotRequired[str]
    checkpoint: NotRequired[str]
    report: NotRequired[dict[str, Any]]


class LoraProblem(TypedDict):
    """A file in the folder of LoRAs or of embeddings that cannot be used, or not wholly, and why."""

    file: str
    code: str
    message: str


def lora_card(
    entry: LoraEntry,
    digest: str | None,
    ready: Warmth,
    tier: str,
    *,
    on: bool,
    last_used: int | None,
    in_folder: bool,
    shared: bool,
) -> Lora:
    """What its header and its side-car say, and how near it is."""
    defaults = entry.defaults
    return {
        "id": entry.name,
        "object": "lora",
        "name": entry.name,
        "created": entry.created,
        "digest": digest,
        "bytes": entry.size_bytes,
        "dtype": entry.dtype,
        "base_family": entry.base_family,
        "dialect": entry.dialect,
        "ranks": list(entry.ranks),
        "weight": defaults.weight if defaults.weight is not None else 1.0,
        "trigger_words": list(defaults.trigger_words),
        "recommended": {
            "steps": defaults.steps,
            "guidance_scale": defaults.guidance_scale,
            "sampler": defaults.sampler,
            "schedule": defaults.schedule,
            "eta": defaults.eta,
            "clip_skip": defaults.clip_skip,
        },
        "description": defaults.description or defaults.title or "",
        "ready": ready,
        "tier": tier,
        "on": on,
        "in_folder": in_folder,
        "shared": shared,
        "last_used": last_used,
        "metadata": dict(entry.metadata),
        "side_car": {key: getattr(defaults, key) for key in defaults.said},
    }
