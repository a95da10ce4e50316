"""The settings of the model that separates a picture's subject from its background."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sdxl_gateway.config.section import Seconds, Section

DEMO_MATTE = Path(__file__).parent.parent / "demo_matte" / "matte.onnx"


class Matting(Section):
    """`path` is an ONNX file, or "demo" for `DEMO_MATTE`; without one backgrounds cannot be removed."""

    path: str | None = None
    kind: Literal["u2net", "isnet", "birefnet"] = "u2net"
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    seconds: Seconds = 60.0
