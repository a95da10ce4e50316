"""The story of a request on one page: resolve, submit, follow, deliver."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from sdxl_gateway.accounts.limits import Limits, Visit
from sdxl_gateway.admission.resolve import Admission, ResolvedAsk
from sdxl_gateway.config import Settings
from sdxl_gateway.core.ask import Ask, Upload
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import InvalidRequest, ModerationBlocked, NotFound
from sdxl_gateway.core.events import (
    Failed,
    Finished,
    JobAccepted,
    Painted,
    Previewed,
    Progressed,
    ResultLooked,
    Started,
)
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.listeners import Listener
from sdxl_gateway.core.ports import Backend, Line
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.core.trace import current
from sdxl_gateway.delivery.deliver import Deliverer, Output
from sdxl_gateway.delivery.receipt import usage
from sdxl_gateway.egress.egress import Egress
from sdxl_gateway.gateway.announce import announced
from sdxl_gateway.gateway.enhancer import ChatEnhancer, NotEnhanced
from sdxl_gateway.gateway.events import Accepted, Done, Item
from sdxl_gateway.gateway.handing import Handing
from sdxl_gateway.gateway.packed import SettledAsk
from sdxl_gateway.gateway.result_cache import ResultCache
from sdxl_gateway.gateway.reusing import Place, place_of
from sdxl_gateway.gateway.tally import tallied
from sdxl_gateway.gateway.watch import Watch
from sdxl_gateway.pictures.written import Written
from sdxl_gateway.safety.judges import Judges


class Gateway:
    """Knows the rooms a request passes through, and nothing of HTTP or torch. `listener` hears of every job."""

    def __init__(
        self,
        settings: Settings,
        admission: Admission,
        backend: Backend,
        deliverer: Deliverer,
        listener: Listener,
        egress: Egress,
        limits: Limits,
        results: ResultCache,
        judges: Judges | None = None,
    ) -> None:
        self._settings = settings
        self._admission = admission
        self._backend = backend
        self._deliverer = deliverer
        self._listener = listener
        self._limits = limits
        self._egress = egress
        self._results = results
        self._judges = judges or Judges(settings.safety)
        off = settings.enhancer.base_url is None
        most = settings.limits.max_prompt_chars
        self._enhancer = None if off else ChatEnhancer(settings.enhancer, egress, max_chars=most)

    async def settled(self, ask: Ask, caller: Caller) -> SettledAsk:
        """Resolve the Ask for later: it gives the same pictures whenever it is painted. Raises a Refusal."""
        admission, watch = self._admission.seen_by(caller), self._watch(caller)
        ask = admission.with_arm(ask, caller)
        with tallied(ask.arm, caller.tenant, self._listener):
            await watch.asked(ask)
            final, resolved, said = await self._resolved(ask, admission, watch)
            self._limits.check(caller, ask, resolved.recipe)
            await watch.resolved(resolved)
        return SettledAsk(replace(final, seed=resolved.recipe.seed, enhance=False), ask.prompt, said)

    def with_settings(
        self, settings: Settings, admission: Admission, deliverer: Deliverer, limits: Limits, judges: Judges
    ) -> Gateway:
        """The gateway under other settings, with the same engines, listener and cache of results."""
        backend, listener, egress = self._backend, self._listener, self._egress
        return Gateway(settings, admission, backend, deliverer, listener, egress, limits, self._results, judges)

    async def paint(
        self, ask: Ask, caller: Caller, *, keep: bool = False, must_keep: bool = False, job_id: str | None = None
    ) -> AsyncGenerator[Item, None]:
        """Accepted, then Progressed, Partial, Presented and Withheld as they come, then Done.

        May raise a GatewayError anywhere.
        With `keep` each picture is also stored and has a name; one that cannot be stored comes without, with a warning,
        or with `must_keep` StorageFull is raised. Closing the iterator early cancels the job within one denoising step.
        `job_id` is that of a job accepted before: no line is too full for it, and no deadline but its own ends it.
        """
        ask = self._admission.seen_by(caller).with_arm(ask, caller)
        with tallied(ask.arm, caller.tenant, self._listener, stored=job_id is not None) as tally:
            async with (
                self._limits.visit(caller, ask) as visit,
                aclosing(self._painted(ask, caller, visit, job_id, keep=keep, must_keep=must_keep)) as items,
            ):
                async for item in items:
                    tally.see(item)
                    yield item

    async def _painted(
        self, ask: Ask, caller: Caller, visit: Visit, job_id: str | None, *, keep: bool, must_keep: bool
    ) -> AsyncGenerator[Item, None]:
        """The items of a request that the caller's limits let in."""
        arrived = time.time()
        watch = self._watch(caller)
        await watch.asked(ask)
        _, resolved, said = await self._resolved(ask, self._admission.seen_by(caller), watch)
        output = _output(ask, caller, resolved, watch, keep=keep, must_keep=must_keep)
        place = Place(self._results) if job_id else await place_of(ask, output, self._results, self._settings)
        await visit.charge(ask, resolved.recipe, painting=place.found is None)
        await watch.resolved(resolved)
        handing = Handing(self._deliverer, replace(output, oversight=watch.oversight))
        job = self._job(ask, caller, resolved, arrived, job_id)
        accepted = Accepted(
            job.id,
            output.size,
            resolved.quality,
            ask.output_format,
            resolved.recipe.background,
            cache=place.outcome,
            arm=resolved.recipe.arm,
        )
        work = usage(resolved.recipe, has_input=bool(ask.images))
        if place.outcome is not None:
            self._listener(ResultLooked(place.outcome))
        if place.found is not None:
            visit.begun = True
            yield accepted
            for picture in place.found.pictures:
                yield await handing.again(picture)
            yield Done(work, (*resolved.warnings, *said, *place.found.warnings, *handing.ended()))
            return
        async with (
            announced(_accepted(job, ask, caller, resolved), self._listener) as tell,
            aclosing(await self._backend.submit(job)) as events,
        ):
            yield replace(accepted, position=events.position)
            async for event in events:
                tell(event)
                match event:
                    case Started():
                        visit.begun = True
                    case Progressed():
                        yield event
                    case Previewed():
                        if (look := await handing.look(event)) is not None:
                            yield look
                    case Painted():
                        yield await handing.picture(event)
                    case Finished():
                        told = (*resolved.warnings, *said, *event.warnings, *handing.ended())
                        place.fill(output, handing.presented, event.warnings)
                        yield Done(work, told)
                    case Failed():
                        raise event.error

    async def written(self, upload: Upload) -> Written:
        """How a picture was made, as its file says. Raises InvalidImage, or NotFound where it says nothing."""
        found = await self._admission.uploads.written(upload)
        if found is None:
            raise NotFound("This picture's file does not say how it was made.", param=upload.field, code="no_recipe")
        return found

    def _watch(self, caller: Caller) -> Watch:
        section = self._settings.safety
        policy = section.policy if caller.safety is None else caller.safety
        return Watch(self._judges, policy, caller, self._listener, uploads=section.uploads)

    async def _resolved(self, ask: Ask, admission: Admission, watch: Watch) -> tuple[Ask, ResolvedAsk, tuple[str, ...]]:
        """The Ask as it is painted, resolved, and warnings about it. Its prompt is enhanced if the Ask says so; where
        that fails, or gives a prompt that cannot be painted, its own prompt is kept."""
        if not ask.enhance:
            return ask, await admission.resolve(ask), ()
        if self._enhancer is None:
            raise InvalidRequest("This server has no model to rewrite prompts.", param="enhance")
        try:
            richer = replace(ask, prompt=await self._enhancer.enhance(ask.prompt))
            await watch.texts(richer.prompt)
            return richer, await admission.resolve(richer), ()
        except NotEnhanced as problem:
            reason = str(problem)
        except ModerationBlocked:
            reason = "what the model wrote is not allowed here"
        except InvalidRequest as refused:
            if refused.param != "prompt":
                raise
            reason = "what the model wrote cannot be painted"
        return ask, await admission.resolve(ask), (f"The prompt is not enhanced: {reason}.",)

    def _job(self, ask: Ask, caller: Caller, resolved: ResolvedAsk, arrived: float, job_id: str | None) -> Job:
        longest = self._settings.limits.deadline_seconds if job_id is None else math.inf
        trace = current()
        return Job(
            id=job_id or secrets.token_hex(8),
            recipe=resolved.recipe,
            inputs=resolved.inputs,
            partial_images=ask.partial_images,
            tenant=caller.tenant,
            priority=priority_of(ask, caller),
            weight=self._settings.tenant(caller.tenant).weight,
            arrived=arrived,
            deadline=arrived + min(ask.timeout or math.inf, longest),
            admitted=job_id is not None,
            trace=None if trace is None else trace.child(),
        )

    @property
    def line(self) -> Line:
        """Who waits, and who is painted."""
        return self._backend

    @property
    def ready(self) -> bool:
        """A picture asked for now would be painted."""
        return self._backend.ready

    def readiness(self) -> dict[str, Any]:
        """What /readyz adds to yes or no."""
        return {"default_model": self._settings.default_model}


def priority_of(ask: Ask, caller: Caller) -> Priority:
    """The caller's class, or the lower one that was asked for."""
    return max(caller.priority, ask.priority or caller.priority)


def _accepted(job: Job, ask: Ask, caller: Caller, resolved: ResolvedAsk) -> JobAccepted:
    loras = tuple(resolved.loras)
    return JobAccepted(
        job.id, job.tenant, job.recipe, loras, job.arrived, ask.user, caller.key_id, job.trace, job.priority
    )


def _output(ask: Ask, caller: Caller, resolved: ResolvedAsk, watch: Watch, *, keep: bool, must_keep: bool) -> Output:
    return Output(
        resolved.recipe,
        resolved.kept,
        ask.output_format,
        ask.output_compression,
        caller.tenant,
        keep,
        must_keep,
        ask.embed_recipe,
        watch.oversight,
    )
