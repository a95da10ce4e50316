"""Takes the end of an address, gives every spelling under which clients of OpenAI's API ask for it."""

from __future__ import annotations

# The first is documented. Azure's clients, and what stands before several vendors, put their own before it.
OPENAI_PREFIXES = ("/v1", "", "/openai/v1", "/openai")


def openai_paths(path: str) -> tuple[str, ...]:
    """Below every prefix."""
    return tuple(prefix + path for prefix in OPENAI_PREFIXES)


def prefixed_paths(path: str) -> tuple[str, ...]:
    """As `openai_paths`, but for the spelling without a prefix, which is that of a picture's address."""
    return tuple(prefix + path for prefix in OPENAI_PREFIXES if prefix)


def only(path: str) -> tuple[str, ...]:
    """Spelled in no other way: what OpenAI's API does not have."""
    return (path,)
