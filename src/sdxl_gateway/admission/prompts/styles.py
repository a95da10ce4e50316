"""Finds the style that a request names, a template for its prompt."""

from __future__ import annotations

from collections.abc import Mapping

from sdxl_gateway.config import Style
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.text import shown

NO_STYLE = Style()


def style_of(name: str | None, styles: Mapping[str, Style]) -> Style:
    """The style, by name in any case; without one, a style that changes nothing. Raises InvalidRequest listing all."""
    if name is None:
        return NO_STYLE
    by_name = {known.lower(): style for known, style in styles.items()}
    found = by_name.get(name.strip().lower())
    if found is None:
        known = ", ".join(f"'{one}'" for one in styles)
        raise InvalidRequest(f"Invalid value: {shown(name)}. Supported values are: {known}.", param="style")
    return found
