"""The section of engines that run in a cluster instead of on the server's machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sdxl_gateway.config.section import Bytes, Seconds, Section


class Cluster(Section):
    """Which cluster, if any, how many replicas with an engine each, and the resources of one.

    Without an `address` the server has a cluster of its own, which only this machine can reach. More replicas than
    `replicas`, up to `max_replicas`, are started as needed to keep the predicted wait below `wait_seconds`.
    """

    kind: Literal["none", "ray"] = "none"
    address: str = ""
    replicas: Annotated[int, Field(ge=1)] = 1
    max_replicas: Annotated[int, Field(ge=0)] = 0
    wait_seconds: Seconds = 10.0
    upscale_seconds: Annotated[float, Field(ge=0)] = 10.0
    downscale_seconds: Annotated[float, Field(ge=0)] = 300.0
    grace_seconds: Seconds = 120.0
    cpus: Annotated[float, Field(ge=0)] = 1.0
    gpus: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    directory: Path = Path("replicas")
    object_store_bytes: Bytes = 256 * 2**20
