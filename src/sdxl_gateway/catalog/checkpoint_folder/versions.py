"""Takes the name and digest of a checkpoint, gives what tells this very content from what else had the name, and back.

A file may be replaced under its name while pictures are painted with what was there before: to an engine those are two.
"""

from __future__ import annotations


def versioned(name: str, digest: str) -> str:
    """The name of this very content."""
    return f"{name}@{digest}"


def name_and_digest(version: str) -> tuple[str, str]:
    """What `versioned` was given."""
    name, _, digest = version.rpartition("@")
    return name, digest
