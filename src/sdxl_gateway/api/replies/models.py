"""The library's model cards as OpenAI's model objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NotRequired

from typing_extensions import TypedDict

from sdxl_gateway.gateway.capabilities import Capabilities
from sdxl_gateway.gateway.library import ModelCard, ModelKind
from sdxl_gateway.gateway.lora_card import Warmth


class Model(TypedDict):
    """A name that requests may give as `model`; `created` is unix seconds; lists omit the capabilities."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    kind: ModelKind
    description: str
    ready: Warmth
    capabilities: NotRequired[Capabilities]


class ModelList(TypedDict):
    """All models; never paged."""

    object: Literal["list"]
    data: list[Model]
    has_more: Literal[False]


def model_list(cards: Iterable[ModelCard]) -> ModelList:
    """OpenAI's list of models."""
    return {"object": "list", "data": [model_object(card) for card in cards], "has_more": False}


def model_object(card: ModelCard) -> Model:
    """A model card as OpenAI's model object."""
    told: Model = {
        "id": card.id,
        "object": "model",
        "created": card.created,
        "owned_by": card.owned_by,
        "kind": card.kind,
        "description": card.description,
        "ready": card.ready,
    }
    if card.capabilities is not None:
        told["capabilities"] = card.capabilities
    return told
