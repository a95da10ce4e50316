"""The section about webhooks: what receivers are told of jobs."""

from __future__ import annotations

from sdxl_gateway.config.section import Seconds, Section


class Webhooks(Section):
    """How long a receiver may take."""

    timeout_seconds: Seconds = 15.0
