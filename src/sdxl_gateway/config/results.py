"""The settings of the cache of results."""

from __future__ import annotations

from typing import Literal

from sdxl_gateway.config.section import Bytes, Seconds, Section

CacheMode = Literal["seeded", "prompt", "off"]


class Results(Section):
    """Which requests get what was painted for an identical earlier one."""

    cache: CacheMode = "seeded"
    seconds: Seconds = 3600.0
    max_bytes: Bytes = 256 * 2**20
