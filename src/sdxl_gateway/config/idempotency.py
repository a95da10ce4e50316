"""The section of replies that are stored for requests repeated with the same Idempotency-Key."""

from __future__ import annotations

from sdxl_gateway.config.section import Bytes, Seconds, Section


class Idempotency(Section):
    """How long replies are stored, and how much."""

    keep_seconds: Seconds = 86400.0
    max_stored_bytes: Bytes = 2**30
