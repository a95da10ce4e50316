"""The recipe that is written in a picture's file, as JSON."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

from sdxl_gateway.pictures.written import Written


class WrittenRecipe(TypedDict):
    """`recipe` can be sent in a request as it is, null if another tool wrote it; `parameters` is the text for tools."""

    object: Literal["image.recipe"]
    recipe: dict[str, Any] | None
    parameters: str


def written_recipe(written: Written) -> WrittenRecipe:
    """Both, as they are in the file."""
    return {"object": "image.recipe", "recipe": written.recipe, "parameters": written.parameters}
