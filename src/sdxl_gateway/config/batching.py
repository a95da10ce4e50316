"""Settings of files that tenants send, and of batches of requests in them."""

from __future__ import annotations

from sdxl_gateway.config.section import Bytes, Seconds, Section


class Files(Section):
    """How large files may be, and how long those of batches are kept."""

    max_file_bytes: Bytes = 200 * 2**20
    max_tenant_bytes: Bytes = 16 * 2**30
    batch_keep_seconds: Seconds = 30 * 86400.0
