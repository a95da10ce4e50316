"""Takes a caller and a request, lets it in or says when to come back; counts what it takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import copy

from sdxl_gateway.accounts.caps import check_asked, check_cost, check_recipe
from sdxl_gateway.accounts.meters import PAUSE_SECONDS
from sdxl_gateway.accounts.usage import Usage, holders
from sdxl_gateway.accounts.usage_table import Used
from sdxl_gateway.config import Settings
from sdxl_gateway.core.allowance import Allowance, Level, Meter, Unit
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import Busy, DoesNotFit, EngineFault, QuotaSpent, StorageFull, Unavailable
from sdxl_gateway.core.ports import Meters
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.scheduling.pixel_steps import pixel_steps

SERVERS_FAULT = (EngineFault, Unavailable, StorageFull, DoesNotFit)
TOLD = (Unit.REQUESTS, Unit.IMAGES, Unit.PIXEL_STEPS)
"""The units of which reply headers tell."""


class Limits:
    """The limits of tenants and of keys, of which both hold. `usage` records what was used, limited or not."""

    def __init__(self, settings: Settings, meters: Meters, usage: Usage) -> None:
        self._settings = settings
        self._meters = meters
        self._usage = usage
        self._of_tenants: dict[str, Allowance] = {}

    def with_settings(self, settings: Settings) -> Limits:
        """The limits under other settings; what was taken stays counted."""
        other = copy(self)
        other._settings, other._of_tenants = settings, {}
        return other

    async def levels(self, caller: Caller) -> list[Level]:
        """The caller's levels: for each unit that of the meter with least left."""
        found = [await self._meters.level(meter) for unit in TOLD for meter in self._metered(caller, unit)]
        return list({level.meter.unit: level for level in sorted(found, key=_left, reverse=True)}.values())

    @asynccontextmanager
    async def visit(self, caller: Caller, ask: Ask) -> AsyncIterator[Visit]:
        """Lets one request in, and keeps one of the caller's places for as long as the context is open.

        Raises Busy, or InvalidRequest for more pictures than the caller may have. What was charged inside is given back
        where the server was at fault, or nothing had begun.
        """
        check_asked(ask, self._caps(caller))
        await self._take(caller, {Unit.REQUESTS: 1, Unit.JOBS: 1})
        self._usage.add(caller, Used(requests=1))
        visit = Visit(self, caller)
        try:
            yield visit
        except BaseException as error:
            if isinstance(error, SERVERS_FAULT) or not visit.begun:
                await self._give_back(caller, visit.charged)
            raise
        finally:
            for meter in self._metered(caller, Unit.JOBS):
                await self._meters.give_back(meter, 1)

    async def admit(self, caller: Caller) -> None:
        """Lets in one request that paints nothing. Raises Busy."""
        await self._take(caller, {Unit.REQUESTS: 1})
        self._usage.add(caller, Used(requests=1))

    def check(self, caller: Caller, ask: Ask, recipe: Recipe) -> None:
        """Raises InvalidRequest for what the caller may never have; nothing is taken."""
        caps = self._caps(caller)
        check_asked(ask, caps)
        check_recipe(ask, recipe, caps)
        check_cost(pixel_steps(recipe), caps)

    async def charge(self, caller: Caller, ask: Ask, recipe: Recipe, *, painting: bool = True) -> Used:
        """Charge for a request's pictures; for their number alone when none has to be painted.

        Raises Busy, QuotaSpent, and InvalidRequest for what the caller may never have.
        """
        self.check(caller, ask, recipe)
        cost = pixel_steps(recipe) if painting else 0
        await self._take(caller, {Unit.IMAGES: recipe.count, Unit.PIXEL_STEPS: cost})
        used = Used(images=recipe.count, pixel_steps=cost)
        self._usage.add(caller, used)
        return used

    async def _take(self, caller: Caller, amounts: dict[Unit, int]) -> None:
        """All of it or nothing. Raises Busy or QuotaSpent."""
        wanted = [
            (meter, amount) for unit, amount in amounts.items() if amount for meter in self._metered(caller, unit)
        ]
        for meter, amount in wanted:
            if (wait := await self._meters.wait_seconds(meter, amount)) > 0:
                raise _refusal(meter, wait)
        await self._count(wanted)

    async def _count(self, wanted: list[tuple[Meter, int]]) -> None:
        """All or nothing, except that minutes stay counted. Raises Busy or QuotaSpent when others were faster."""
        taken: list[tuple[Meter, int]] = []
        try:
            for meter, amount in wanted:
                if not await self._meters.take(meter, amount):
                    raise _refusal(meter, await self._meters.wait_seconds(meter, amount) or PAUSE_SECONDS)
                taken.append((meter, amount))
        except BaseException:
            for meter, amount in taken:
                await self._meters.give_back(meter, amount)
            raise

    async def _give_back(self, caller: Caller, used: Used) -> None:
        self._usage.add(caller, -used)
        for meter in self._metered(caller, Unit.PIXEL_STEPS):
            await self._meters.give_back(meter, used.pixel_steps)

    def _metered(self, caller: Caller, unit: Unit) -> list[Meter]:
        allowances = (self._of_tenant(caller.tenant), caller.limits)
        named = zip(holders(caller.tenant, caller.key_id), allowances, strict=False)
        return [Meter(holder, unit, most) for holder, allowed in named if (most := allowed.most(unit))]

    def _caps(self, caller: Caller) -> Allowance:
        return self._of_tenant(caller.tenant).tightened_by(caller.limits)

    def _of_tenant(self, name: str) -> Allowance:
        if name not in self._of_tenants:
            self._of_tenants[name] = self._settings.tenant(name).allowance
        return self._of_tenants[name]


class Visit:
    """A request that was let in, and what it was charged; `begun` is set once an engine works on it."""

    def __init__(self, limits: Limits, caller: Caller) -> None:
        self._limits = limits
        self._caller = caller
        self.charged = Used()
        self.begun = False

    async def charge(self, ask: Ask, recipe: Recipe, *, painting: bool = True) -> None:
        """Charge for its pictures, once. Raises Busy, QuotaSpent or InvalidRequest."""
        self.charged = await self._limits.charge(self._caller, ask, recipe, painting=painting)


def _left(level: Level) -> float:
    return level.remaining / level.meter.most


def _refusal(meter: Meter, wait_seconds: float) -> Busy:
    whose = "this key" if meter.holder.startswith("key ") else "its tenant"
    if meter.unit is Unit.PIXEL_STEPS:
        told = f"You exceeded your current quota: {whose} may take {meter.most} pixel-steps a day."
        return QuotaSpent(told, retry_after_seconds=wait_seconds)
    if meter.unit is Unit.JOBS:
        told = f"Too many requests at once: {whose} may have {meter.most} running or waiting."
    else:
        told = f"Rate limit reached for {meter.unit}: {whose} may have {meter.most} a minute."
    return Busy(f"{told} Please try again in {wait_seconds:.3g}s.", retry_after_seconds=wait_seconds)
