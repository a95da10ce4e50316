"""Takes what a picture's file says, gives the JSON of it."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

from sdxl_gateway.pictures.written import Written


class WrittenRecipe(TypedDict):
    """`recipe` can be sent back as it is, null where another tool made it; `parameters` is the text for tools."""

    object: Literal["image.recipe"]
    recipe: dict[str, Any] | None
    parameters: str


def written_recipe(written: Written) -> WrittenRecipe:
    """Both, as the file holds them."""
    return {"object": "image.recipe", "recipe": written.recipe, "parameters": written.parameters}
