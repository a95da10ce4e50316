"""The replies that list LoRAs and confirm their deletion."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from sdxl_gateway.gateway.lora_card import Lora, LoraProblem


class LoraList(TypedDict):
    """All LoRAs, and under `problems` the files in their folder that cannot be used; never paged."""

    object: Literal["list"]
    data: list[Lora]
    problems: list[LoraProblem]
    has_more: Literal[False]


class DeletedLora(TypedDict):
    """Confirms that a LoRA was deleted."""

    id: str
    object: Literal["lora"]
    deleted: Literal[True]


def lora_list(loras: list[Lora], problems: list[LoraProblem]) -> LoraList:
    """The list of LoRAs and problems as a JSON object."""
    return {"object": "list", "data": loras, "problems": problems, "has_more": False}


def deleted_lora(name: str) -> DeletedLora:
    """The reply to a deletion."""
    return {"id": name, "object": "lora", "deleted": True}
