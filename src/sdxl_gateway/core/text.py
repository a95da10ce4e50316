"""Text from outside, made safe to show."""

from __future__ import annotations


def shown(text: str) -> str:
    """User text for an error message: escaped and at most 100 characters."""
    cut = text if len(text) <= 80 else text[:77] + "..."
    return repr(cut.encode("utf-8", "backslashreplace").decode("utf-8"))[:100]


def cleaned(text: str, limit: int) -> str:
    """The text as one printable line of at most `limit` characters."""
    if not text:
        return ""
    line = " ".join(text[: 4 * limit].split())
    return "".join(character for character in line if character.isprintable())[:limit].strip()
