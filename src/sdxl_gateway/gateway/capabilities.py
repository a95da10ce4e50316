"""Takes a checkpoint and the settings, gives what a request to it may ask for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NotRequired

from typing_extensions import TypedDict

from sdxl_gateway.admission.prompts.clip_skip import text_layers
from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.controls import ControlEntry
from sdxl_gateway.catalog.ip_adapters import IpAdapterFile
from sdxl_gateway.config import Settings
from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.limits import REFERENCE_WEIGHT, REFERENCES
from sdxl_gateway.core.prompt import CHUNK_TOKENS
from sdxl_gateway.core.prompt_syntax import SYNTAXES
from sdxl_gateway.core.recipe import LANCZOS, Preprocessor
from sdxl_gateway.core.rollout import Shares
from sdxl_gateway.core.samplers import SAMPLERS, SCHEDULES
from sdxl_gateway.pictures.preprocess import PREPROCESSORS


class ControlType(TypedDict):
    """What one type of `controls` reads: `modes` of a union, and what makes its map where a request does not say."""

    modes: list[str]
    preprocessor: Preprocessor | None


class ReferenceCapability(TypedDict):
    """The IP-Adapter that pictures guide this model with; `kind` is "plain" or "plus"."""

    ip_adapter: str
    kind: str
    max_pictures: int
    default_weight: float
    max_weight: float


class ArmShare(TypedDict):
    """One of the model names that a rollout shares callers out among, and its share as it was set: of 1 or of 100."""

    target: str
    share: float


class Capabilities(TypedDict):
    """What a client can know before it sends; a feature that is not there has no value here.

    `clip_skip` is how far it goes: the text encoders' layers. `prompt_tokens` are read of a prompt, those beyond are
    cut. `native_pixels` is the largest area painted directly,
    `max_pixels` the largest handed out. Of a rollout they are those of its largest arm; all its arms are in `rollout`,
    for operators. `detail` is how far an enlarged picture is painted over, and `guidance_end` the share of the
    steps that guidance takes part in, where nobody says.
    """

    operations: list[str]
    samplers: list[str]
    schedules: list[str]
    refiners: list[str]
    prompt_syntaxes: list[str]
    enhance: bool
    styles: list[str]
    embeddings: list[str]
    clip_skip: int
    prompt_tokens: int
    background: list[str]
    native_pixels: int
    max_pixels: int
    detail: float
    guidance_end: NotRequired[float]
    controls: NotRequired[dict[str, ControlType]]
    preprocessors: NotRequired[list[Preprocessor]]
    max_controls: NotRequired[int]
    references: NotRequired[ReferenceCapability]
    upscalers: NotRequired[list[str]]
    rollout: NotRequired[list[ArmShare]]


def capabilities(
    checkpoint: CheckpointEntry,
    settings: Settings,
    *,
    embeddings: Sequence[str] = (),
    refiners: Iterable[str] = (),
    controls: Iterable[ControlEntry] = (),
) -> Capabilities:
    """Of any model name that resolves to `checkpoint`, to which a prompt may say the words of these `embeddings`.

    A refiner paints from pictures alone, and is not refined by one of the `refiners`. `controls` are all that are
    configured.
    """
    operations = [one for one in Operation if not (checkpoint.refines and one is Operation.GENERATE)]
    told: Capabilities = {
        "operations": [operation.value for operation in operations],
        "samplers": list(SAMPLERS),
        "schedules": list(SCHEDULES),
        "refiners": [] if checkpoint.refines else list(refiners),
        "prompt_syntaxes": list(SYNTAXES),
        "enhance": settings.enhancer.base_url is not None,
        "styles": list(settings.styles),
        "embeddings": [*embeddings],
        "clip_skip": text_layers(checkpoint.shapes),
        "prompt_tokens": CHUNK_TOKENS * (settings.limits.max_prompt_chunks if settings.prompts.long_prompts else 1),
        "background": ["auto", "opaque", *(["transparent"] if settings.matting.path else [])],
        "native_pixels": checkpoint.native_pixels,
        "max_pixels": settings.limits.max_pixels,
        "detail": next(iter(settings.upscalers.values())).detail if settings.upscalers else 0.0,
    }
    if not checkpoint.embeds_guidance:
        section = settings.checkpoints.get(checkpoint.name, checkpoint.section)
        told["guidance_end"] = 1.0 if section.guidance_end is None else section.guidance_end
    if fitting := [entry for entry in controls if entry.fits(checkpoint.shapes)]:
        told["controls"] = {entry.name: _control_type(entry) for entry in fitting}
        told["preprocessors"] = list(PREPROCESSORS)
        told["max_controls"] = settings.limits.max_controls
    if checkpoint.ip_adapter is not None:
        told["references"] = _references(checkpoint.ip_adapter, settings)
    if settings.upscalers:
        told["upscalers"] = [*settings.upscalers, LANCZOS]
    return told


def with_arms(told: Capabilities, shares: Shares) -> Capabilities:
    """The same, of a rollout whose arms have these shares."""
    return {**told, "rollout": [ArmShare(target=target, share=share) for target, share in shares.items()]}


def _control_type(entry: ControlEntry) -> ControlType:
    return {"modes": [names[0] for names in entry.modes], "preprocessor": entry.preprocessor}


def _references(adapter: IpAdapterFile, settings: Settings) -> ReferenceCapability:
    return {
        "ip_adapter": adapter.name,
        "kind": "plus" if adapter.plus else "plain",
        "max_pictures": REFERENCES,
        "default_weight": settings.ip_adapter.weight,
        "max_weight": REFERENCE_WEIGHT,
    }
