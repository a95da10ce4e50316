"""Decides about transparent backgrounds, and which matte model they need."""

from __future__ import annotations

from sdxl_gateway.config import HouseStyle
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.ports import Matte
from sdxl_gateway.core.recipe import Background, Recipe

NO_MATTE = (
    "A transparent background needs a matte model, and this server has none. "
    "Its operator can set [matting] path to an ONNX file."
)


REPLACED = (
    "The file of the server's matte model was replaced; the one read at its start is used, as the recipe's digest says."
)


def matte_digest(ask: Ask, style: HouseStyle, matte: Matte | None) -> str | None:
    """The digest of the matte model that the picture needs, None for an opaque one. Raises InvalidRequest."""
    if _background(ask, style) == "opaque":
        return None
    if matte is None:
        raise InvalidRequest(NO_MATTE, param="background")
    return matte.digest


def matte_warnings(recipe: Recipe, matte: Matte | None) -> tuple[str, ...]:
    """A warning if the operator has replaced the matte model that the picture was painted with."""
    return (REPLACED,) if recipe.matte is not None and matte is not None and matte.replaced else ()


def _background(ask: Ask, style: HouseStyle) -> Background:
    """The background; "auto" is the style's, if the format supports it, and else opaque."""
    if ask.background is not None:
        return ask.background
    return "opaque" if ask.output_format == "jpeg" else style.background or "opaque"
