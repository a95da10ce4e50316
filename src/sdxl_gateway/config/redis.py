"""The section of what several gateways share, in one Redis."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from sdxl_gateway.config.section import Seconds, Section

SCHEMES = ("redis://", "rediss://", "unix://")


def _address(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(SCHEMES):
        raise ValueError(f"should begin with {', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}")
    return url


class Redis(Section):
    """Without `url` a gateway is alone. `prefix` begins every key; `timeout_seconds` is the longest that one question
    keeps a request waiting."""

    url: Annotated[SecretStr, AfterValidator(_address)] | None = None
    prefix: Annotated[str, Field(pattern=r"^[\w.-]+$")] = "sdxl-gateway"
    timeout_seconds: Seconds = 0.25
