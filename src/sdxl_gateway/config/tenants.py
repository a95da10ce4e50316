"""The sections of tenants, the parties that share the server, by the names in their keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sdxl_gateway.config.section import Section
from sdxl_gateway.core.allowance import Allowance

Most = Annotated[int, Field(ge=0, le=10**18)]


class Tenant(Section):
    """A tenant's share of the server, and its limits; 0 is no limit."""

    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    requests_per_minute: Most = 0
    images_per_minute: Most = 0
    pixel_steps_per_day: Most = 0
    concurrent_jobs: Most = 0
    max_pixels: Most = 0
    max_steps: Most = 0
    max_n: Most = 0

    @property
    def allowance(self) -> Allowance:
        """The tenant's limits."""
        return Allowance(**self.model_dump(exclude={"weight"}))

    def over(self, usual: Tenant) -> Tenant:
        """The tenant's settings, with those that are not set taken from `usual`."""
        return usual.model_copy(update=self.model_dump(exclude_unset=True))
