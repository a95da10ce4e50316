"""Takes the library's LoRAs, gives the replies around them."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from sdxl_gateway.gateway.lora_card import Lora, LoraProblem


class LoraList(TypedDict):
    """All LoRAs, and the files in their folder that cannot be used; lists are always whole here."""

    object: Literal["list"]
    data: list[Lora]
    problems: list[LoraProblem]
    has_more: Literal[False]


class DeletedLora(TypedDict):
    """Says that a LoRA is gone."""

    id: str
    object: Literal["lora"]
    deleted: Literal[True]


def lora_list(loras: list[Lora], problems: list[LoraProblem]) -> LoraList:
    """The list, with the problems beside it."""
    return {"object": "list", "data": loras, "problems": problems, "has_more": False}


def deleted_lora(name: str) -> DeletedLora:
    """The reply to a removal."""
    return {"id": name, "object": "lora", "deleted": True}
