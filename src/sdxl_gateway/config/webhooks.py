"""The section of webhooks, by which receivers are notified of jobs."""

from __future__ import annotations

from sdxl_gateway.config.section import Seconds, Section


class Webhooks(Section):
    """How long a receiver may take to answer."""

    timeout_seconds: Seconds = 15.0
