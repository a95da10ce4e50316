"""The settings of the bucket in which pictures and files are stored instead of on this server's disk."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from sdxl_gateway.config.section import BaseUrl, Bytes, Seconds, Section

Prefix = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*)?$")]
Address = BaseUrl | Literal[""]


class S3(Section):
    """The bucket, and how it is accessed; without a `bucket` everything is stored in the data directory.

    Credentials are the environment's: AWS_ACCESS_KEY_ID and the like, or the role of the container or instance.
    """

    bucket: str = ""
    prefix: Prefix = ""
    endpoint: Address = ""
    public_endpoint: Address = ""
    region: str = "us-east-1"
    presign: bool = True
    timeout_seconds: Seconds = 20.0
    retry_seconds: Annotated[float, Field(ge=0)] = 10.0
    checkpoint_bytes: Bytes = 64 * 2**30
