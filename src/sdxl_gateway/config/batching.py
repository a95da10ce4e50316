"""Settings of tenants' files, and of batches of the requests in them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sdxl_gateway.config.section import Bytes, Seconds, Section

Count = Annotated[int, Field(ge=1)]


class Files(Section):
    """How large files may be, and how long those of batches are kept."""

    max_file_bytes: Bytes = 200 * 2**20
    max_tenant_bytes: Bytes = 16 * 2**30
    batch_keep_seconds: Seconds = 30 * 86400.0


class Batches(Section):
    """How large batches may be, how many of their requests are jobs at a time, and how long they may take."""

    max_lines: Count = 50_000
    max_line_bytes: Bytes = 80 * 2**20
    max_output_bytes: Bytes = 4 * 2**30
    max_per_tenant: Count = 100
    lines_at_once: Annotated[int, Field(ge=1, le=256)] = 8
    window_seconds: Seconds = 86400.0
