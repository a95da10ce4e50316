"""Takes the library's model cards, gives OpenAI's model objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from typing_extensions import TypedDict

from sdxl_gateway.gateway.library import ModelCard, ModelKind
from sdxl_gateway.gateway.lora_card import Warmth


class Model(TypedDict):
    """One name a request may use as its model; `created` is unix seconds."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    kind: ModelKind
    description: str
    ready: Warmth


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
    return {
        "id": card.id,
        "object": "model",
        "created": card.created,
        "owned_by": card.owned_by,
        "kind": card.kind,
        "description": card.description,
        "ready": card.ready,
    }
