"""What all sections of the settings are: frozen, and closed to other keys; with the types that several of them use."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

Bytes = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0)]
Key = Annotated[SecretStr, Field(min_length=1)]
BaseUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+(/\S*)?$")]


class Section(BaseModel):
    """A frozen group of settings that knows no other keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class HeaderCaps(Section):
    """How much of a safetensors file's header is read."""

    max_header_bytes: Bytes = 16 * 2**20
    max_tensors: Annotated[int, Field(ge=1)] = 20_000


class FileCaps(HeaderCaps):
    """How large a file may be, its header included."""

    max_file_bytes: Bytes
