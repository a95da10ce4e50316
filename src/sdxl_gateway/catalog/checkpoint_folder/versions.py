"""Makes names of checkpoints unique by their digests.

A file may be replaced under its name while pictures are painted with the previous one: to an engine these are two.
"""

from __future__ import annotations


def versioned(name: str, digest: str) -> str:
    """The name of exactly this content."""
    return f"{name}@{digest}"


def name_and_digest(version: str) -> tuple[str, str]:
    """The arguments that were given to `versioned`."""
    name, _, digest = version.rpartition("@")
    return name, digest
