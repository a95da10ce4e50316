"""The story of a request on one page: admit, submit, follow, finish each picture, hand it out."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sdxl_gateway import __version__
from sdxl_gateway.admission.resolve import Admission, ResolvedAsk
from sdxl_gateway.config import Settings
from sdxl_gateway.core import events
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import Cancelled, EngineFault, GatewayError
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.core.ports import Backend
from sdxl_gateway.delivery.receipt import receipt, usage
from sdxl_gateway.gateway.library import ModelLibrary
from sdxl_gateway.pictures.encode import encode, encode_preview
from sdxl_gateway.pictures.finish import KeptRegion, finish
from sdxl_gateway.pictures.infotext import infotext
from sdxl_gateway.storage.images import ImageStore
from sdxl_gateway.telemetry.metrics import Metrics

B64_ONLY = ("gpt-image-", "chatgpt-image-")
"""OpenAI never answers these names with an address, and some clients prefer one they cannot reach."""


@dataclass(frozen=True, slots=True)
class Presented:
    """A picture ready to leave: encoded bytes, its address when one was asked for, and how to make it again."""

    index: int
    data: bytes
    url: str | None
    seed: int
    recipe: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Partial:
    """An encoded look at the running picture."""

    partial_index: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Accepted:
    """First item of every stream: what the request resolved to; values as OpenAI echoes them, never "auto"."""

    job_id: str
    size: str
    quality: str
    background: str
    output_format: str
    wants_url: bool
    wants_b64: bool
    safety_identifier: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """Last item of every stream that did not raise."""

    usage: dict[str, Any]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stepped:
    """Image `index` has taken `step` of `steps`."""

    index: int
    step: int
    steps: int


Item = Accepted | Stepped | Partial | Presented | Done


@dataclass(frozen=True, slots=True)
class _Order:
    """One request on its way."""

    ask: Ask
    caller: Caller
    admitted: ResolvedAsk
    job: Job
    accepted: Accepted


class Gateway:
    """Knows the rooms a request passes through, and nothing of HTTP or torch."""

    def __init__(
        self,
        settings: Settings,
        admission: Admission,
        library: ModelLibrary,
        backend: Backend,
        images: ImageStore,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._admission = admission
        self._backend = backend
        self._images = images
        self._metrics = metrics
        self.library = library

    async def paint(self, ask: Ask, caller: Caller) -> AsyncGenerator[Item, None]:
        """Accepted, then Stepped, Partial and Presented as they come, then Done; raises a GatewayError at any point.

        Closing the iterator early cancels the job within one denoising step.
        """
        order = await self._order(ask, caller)
        async with self._counted(order) as count, aclosing(await self._backend.submit(order.job)) as following:
            self.library.used(order.admitted.recipe)
            yield order.accepted
            async for event in following:
                count(event)
                match event:
                    case events.Progressed(index=index, step=step, steps=steps):
                        yield Stepped(index, step, steps)
                    case events.Previewed():
                        yield Partial(event.partial_index, await self._preview(order, event.picture))
                    case events.Painted():
                        yield await self._presented(order, event)
                    case events.Finished():
                        yield Done(usage(order.admitted.recipe, has_input=bool(ask.images)), event.warnings)
                    case events.Failed():
                        raise event.error

    async def _order(self, ask: Ask, caller: Caller) -> _Order:
        now = time.monotonic()
        admitted = await self._admission.admit(ask)
        job = Job(
            id=secrets.token_hex(8),
            recipe=admitted.recipe,
            inputs=admitted.inputs,
            tenant=caller.tenant,
            arrived=now,
            deadline=now + self._settings.limits.deadline_seconds,
        )
        return _Order(ask, caller, admitted, job, _accepted(ask, admitted, job.id))

    @asynccontextmanager
    async def _counted(self, order: _Order) -> AsyncIterator[Callable[[events.JobEvent], None]]:
        """Tells the metrics of the job, each event, and one ending: where no last event came, why it did not."""
        self._metrics.on_job(order.job.id, order.admitted.recipe.checkpoint, order.admitted.loras)
        ending: GatewayError | None = Cancelled("The caller went away.")

        def count(event: events.JobEvent) -> None:
            nonlocal ending
            if isinstance(event, events.Finished | events.Failed):
                ending = None
            self._metrics.on_job_event(event)

        try:
            yield count
        except Exception as error:
            if ending is not None:
                ending = error if isinstance(error, GatewayError) else EngineFault("The picture was not handed out.")
            raise
        finally:
            if ending is not None:
                self._metrics.on_job_event(events.Failed(order.job.id, ending))

    async def _preview(self, order: _Order, picture: Picture) -> bytes:
        return await asyncio.to_thread(_encoded_preview, order, picture)

    async def _presented(self, order: _Order, event: events.Painted) -> Presented:
        recipe = order.admitted.recipe
        text = infotext(recipe, seed=event.seed, version=__version__) if self._settings.delivery.embed_recipe else None
        data = await asyncio.to_thread(_encoded, order, event.picture, text)
        url = await self._address(order, data) if order.accepted.wants_url else None
        return Presented(event.index, data, url, event.seed, receipt(recipe, seed=event.seed, version=__version__))

    async def _address(self, order: _Order, data: bytes) -> str:
        stored = await asyncio.to_thread(self._images.put, data, order.ask.output_format)
        return f"{order.caller.base_url}/files/{stored.id}.{stored.ext}"

    @property
    def ready(self) -> bool:
        return self._backend.ready

    def readiness(self) -> dict[str, Any]:
        """What /readyz adds to yes or no."""
        return {"default_model": self._settings.default_model}


def _accepted(ask: Ask, admitted: ResolvedAsk, job_id: str) -> Accepted:
    recipe = admitted.recipe
    b64_only = (ask.model or "").lower().startswith(B64_ONLY)
    return Accepted(
        job_id=job_id,
        size=f"{recipe.width}x{recipe.height}",
        quality=admitted.quality,
        background="opaque",
        output_format=ask.output_format,
        wants_url=ask.response_format == "url" or (ask.response_format is None and not b64_only and not ask.stream),
        wants_b64=ask.response_format != "url",
        safety_identifier=ask.user or None,
    )


def _encoded(order: _Order, picture: Picture, recipe_text: str | None) -> bytes:
    return encode(
        _at_asked_size(order, picture),
        order.ask.output_format,
        compression=order.ask.output_compression,
        recipe_text=recipe_text,
    )


def _encoded_preview(order: _Order, picture: Picture) -> bytes:
    """Previews leave by the same door: what an inpaint keeps is kept in them too."""
    return encode_preview(
        _at_asked_size(order, picture), order.ask.output_format, compression=order.ask.output_compression
    )


def _at_asked_size(order: _Order, picture: Picture) -> Picture:
    recipe, kept = order.admitted.recipe, order.admitted.kept
    region = None if kept is None else KeptRegion(kept.original, kept.mask)
    return finish(picture, width=recipe.width, height=recipe.height, keep=region)
