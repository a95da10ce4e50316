"""The sections of pictures that guide a painting, and of edits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sdxl_gateway.config.section import Section
from sdxl_gateway.core.limits import REFERENCE_WEIGHT


class IpAdapter(Section):
    """The IP-Adapter, by which pictures guide a painting: its file, and the folder of its image encoder."""

    path: str = ""
    image_encoder: str = ""
    weight: Annotated[float, Field(ge=0, le=REFERENCE_WEIGHT)] = 0.6


class Edits(Section):
    """What happens to pictures that nothing can be painted from."""

    unused_images: Literal["warn", "refuse"] = "warn"
