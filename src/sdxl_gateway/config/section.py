"""The base class of the settings' sections, and types that several of them use."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints


def split_at_commas(value: object) -> object:
    """Split a string at commas, as environment variables write lists."""
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return value


Bytes = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0)]
Key = Annotated[SecretStr, Field(min_length=1)]
Words = Annotated[tuple[str, ...], BeforeValidator(split_at_commas)]
Keys = Annotated[tuple[Key, ...], BeforeValidator(split_at_commas)]
BaseUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+(/\S*)?$")]


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class HeaderCaps(Section):
    """How much of a safetensors file's header is read."""

    max_header_bytes: Bytes = 16 * 2**20
    max_tensors: Annotated[int, Field(ge=1)] = 20_000


class FileCaps(HeaderCaps):
    """How large a file may be, its header included."""

    max_file_bytes: Bytes
