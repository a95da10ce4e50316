"""Takes the library's model cards, gives OpenAI's model objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NotRequired

from typing_extensions import TypedDict

from sdxl_gateway.gateway.capabilities import Capabilities
from sdxl_gateway.gateway.library import ModelCard, ModelKind
from sdxl_gateway.gateway.lora_card import Warmth


class Model(TypedDict):
    """One name a request may use as its model; `created` is unix seconds; a list leaves the capabilities out."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    kind: ModelKind
    description: str
    ready: Warmth
    capabilities: NotRequired[Capabilities]


class ModelList(TypedDict):
    """All models; lists are always whole here."""

    object: Literal["list"]
    data: list[Model]
    has_more: Literal[False]


def model_list(cards: Iterable[ModelCard]) -> ModelList:
    """OpenAI's list of models."""
    return {"object": "list", "data": [model_object(card) for card in cards], "has_more": False}


def model_object(card: ModelCard) -> Model:
    """One card in OpenAI's words."""
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
