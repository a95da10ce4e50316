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
from sdxl_gateway.core.picture import Picture, Size
from sdxl_gateway.core.ports import Backend
from sdxl_gateway.delivery.receipt import Usage, receipt, usage
from sdxl_gateway.gateway.library import ModelLibrary
from sdxl_gateway.pictures.encode import encode
from sdxl_gateway.pictures.finish import finish
from sdxl_gateway.pictures.infotext import infotext
from sdxl_gateway.storage.images import ImageStore
from sdxl_gateway.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Presented:
    """A picture ready to leave: encoded bytes, the name it is kept under if it is, and how to make it again."""

    index: int
    data: bytes
    file_name: str | None
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
    size: Size
    quality: str
    output_format: str


@dataclass(frozen=True, slots=True)
class Done:
    """Last item of every stream that did not raise."""

    usage: Usage
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
    resolved: ResolvedAsk
    job: Job
    keep: bool

    @property
    def size(self) -> Size:
        return Size(self.resolved.recipe.width, self.resolved.recipe.height)


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

    async def paint(self, ask: Ask, caller: Caller, *, keep: bool = False) -> AsyncGenerator[Item, None]:
        """Accepted, then Stepped, Partial and Presented as they come, then Done; raises a GatewayError at any point.

        With `keep` each picture is also stored and has a name. Closing the iterator early cancels the job within one
        denoising step.
        """
        order = await self._order(ask, caller, keep)
        async with self._counted(order) as count, aclosing(await self._backend.submit(order.job)) as following:
            self.library.used(order.resolved.recipe)
            yield Accepted(order.job.id, order.size, order.resolved.quality, ask.output_format)
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
                        yield Done(usage(order.resolved.recipe, has_input=bool(ask.images)), event.warnings)
                    case events.Failed():
                        raise event.error

    async def _order(self, ask: Ask, caller: Caller, keep: bool) -> _Order:
        now = time.monotonic()
        resolved = await self._admission.resolve(ask)
        job = Job(
            id=secrets.token_hex(8),
            recipe=resolved.recipe,
            inputs=resolved.inputs,
            partial_images=ask.partial_images,
            tenant=caller.tenant,
            arrived=now,
            deadline=now + self._settings.limits.deadline_seconds,
        )
        return _Order(ask, resolved, job, keep)

    @asynccontextmanager
    async def _counted(self, order: _Order) -> AsyncIterator[Callable[[events.JobEvent], None]]:
        """Tells the metrics of the job, each event, and one ending: where no last event came, why it did not."""
        self._metrics.on_job(order.job.id, order.resolved.recipe.checkpoint, order.resolved.loras)
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
        return await asyncio.to_thread(_encoded, order, picture)

    async def _presented(self, order: _Order, event: events.Painted) -> Presented:
        recipe = order.resolved.recipe
        text = infotext(recipe, seed=event.seed, version=__version__) if self._settings.delivery.embed_recipe else None
        data = await asyncio.to_thread(_encoded, order, event.picture, text)
        name = await self._kept(data, order.ask.output_format) if order.keep else None
        return Presented(event.index, data, name, event.seed, receipt(recipe, seed=event.seed, version=__version__))

    async def _kept(self, data: bytes, output_format: str) -> str:
        stored = await asyncio.to_thread(self._images.put, data, output_format)
        return f"{stored.id}.{stored.ext}"

    @property
    def ready(self) -> bool:
        return self._backend.ready

    def readiness(self) -> dict[str, Any]:
        """What /readyz adds to yes or no."""
        return {"default_model": self._settings.default_model}


def _encoded(order: _Order, picture: Picture, recipe_text: str | None = None) -> bytes:
    """Previews leave by the same door: what an inpaint keeps is kept in them too."""
    image = finish(picture, order.size, order.resolved.kept)
    ask = order.ask
    return encode(image, ask.output_format, compression=ask.output_compression, recipe_text=recipe_text)
