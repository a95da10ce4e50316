"""Gives the secret under which keys are kept: the configured one, else one made once in the data directory."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from sdxl_gateway.storage.secret_file import secret_of

FILE_NAME = "pepper"


def pepper_of(configured: SecretStr | None, data_directory: Path) -> bytes:
    """The same for as long as the setting, or else the data directory, is. Raises DirectoryUnusable."""
    return secret_of(configured, data_directory / FILE_NAME)
