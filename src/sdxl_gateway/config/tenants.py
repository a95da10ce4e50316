"""The sections of tenants: whoever shares the server, by the name their keys bear."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sdxl_gateway.config.section import Section


class Tenant(Section):
    """What a tenant is due."""

    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0


USUAL_TENANT = Tenant()
"""What any other tenant is due."""
