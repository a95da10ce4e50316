"""Runs the rooms: opened in order, closed in reverse, under HTTP or without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from starlette.applications import Starlette

from sdxl_gateway import __version__
from sdxl_gateway.accounts.authenticator import KnownKeys, refuse_anonymous
from sdxl_gateway.accounts.static_keys import StaticKeys
from sdxl_gateway.admission.configured_names import refuse_gaps
from sdxl_gateway.admission.rollouts import arms_of
from sdxl_gateway.api.endpoints.batch_lines import BatchLines
from sdxl_gateway.api.http.hangup import on_hangup
from sdxl_gateway.api.http.listening import bound
from sdxl_gateway.api.http.server import HttpServer, http_config
from sdxl_gateway.api.routes import http_app
from sdxl_gateway.api.services import Services, always
from sdxl_gateway.catalog.lora_folder.copies import prune
from sdxl_gateway.catalog.lora_folder.sweep import CopySweeper
from sdxl_gateway.config import PutInForce, Redis, Reloading, Settings
from sdxl_gateway.core.listeners import Listener
from sdxl_gateway.core.memory import return_large_blocks
from sdxl_gateway.gateway.paint import Gateway
from sdxl_gateway.rooms import (
    BackendFactory,
    Rooms,
    build_rooms,
    process_backend,
    under,
)
from sdxl_gateway.storage.directory import DirectoryInUse, sole_server
from sdxl_gateway.telemetry.audit.writer import Audit
from sdxl_gateway.telemetry.logs import set_log_level


def serve(settings: Settings, read_again: Callable[[], Settings], *told: Listener) -> None:
    """Runs the server until it is told to stop; at each SIGHUP it runs on by the settings `read_again` gives.

    `told` hear what happens, besides its own listeners. Raises StartProblem before it listens.
    """
    server = settings.server
    return_large_blocks()
    with sole_server(settings.data_directory):
        built = build_rooms(settings, told=told)
        built.database.open()
        built.keys.load_now()
        refuse_anonymous(settings, _known_keys(built))
        _prune(settings)
        sockets = bound(server.host, server.port)
        built.front.current = _application(built, partial(_serving, built, read_again))
        HttpServer(http_config(server, built.front), built.closing, built.backend, server.shutdown_grace_seconds).run(
            sockets
        )


def build_app(settings: Settings, backend: BackendFactory = process_backend) -> Starlette:
    """The ASGI application; its lifespan takes the data directory, starts and stops the engine.

    Raises StartProblem, and its lifespan too where another server has the directory.
    """
    built = build_rooms(settings, backend)
    return _application(built, partial(_running_alone, built))


@asynccontextmanager
async def open_gateway(settings: Settings, backend: BackendFactory = process_backend) -> AsyncIterator[Gateway]:
    """The gateway a server would have, without HTTP; its engine runs meanwhile. Raises StartProblem.

    It leaves alone what a server on the same data directory may be using, and remembers nothing beyond the context.
    """
    with TemporaryDirectory(prefix="sdxl-gateway-") as scratch:
        built = build_rooms(settings.model_copy(update={"redis": Redis()}), backend, Path(scratch))
        with suppress(DirectoryInUse), sole_server(settings.data_directory):
            await asyncio.to_thread(_prune, settings)
        async with _running(built, alone=False):
            yield built.gateway


def _prepared(built: Rooms, settings: Settings) -> PutInForce:
    """An application by other settings beside the one that runs. Raises CheckpointProblem where they name nothing."""
    refuse_gaps(built.settings, settings, built.checkpoints, built.adapters)
    fresh = under(built, settings)
    application = _application(fresh)

    def put_in_force() -> None:
        set_log_level(settings.telemetry)
        built.metrics.know_models(settings.model_names)
        built.metrics.know_arms(arms_of(settings))
        built.remembered.retention = settings.retention
        built.files.limits = settings.files
        built.results.limit(max_bytes=settings.results.max_bytes, seconds=settings.results.seconds)
        built.images.limit(settings.delivery)
        built.tasks.paint_with(fresh.gateway)
        form = BatchLines(settings, fresh.pictures, built.images, built.addresses)
        built.batches.follow(form, settings.batches, settings.files.batch_keep_seconds)
        built.front.current = application

    return put_in_force


def _application(built: Rooms, lifespan: Callable[[], AbstractAsyncContextManager[None]] = nullcontext) -> Starlette:
    services = Services(
        gateway=built.gateway,
        library=built.library,
        authenticator=_known_keys(built),
        keys=built.keys,
        files=built.files,
        webhooks=built.webhooks.store,
        pictures=built.pictures,
        batches=built.batches,
        moderations=built.moderations,
        reviews=built.reviews,
        feedback=built.feedback,
        rollouts=lambda: built.admission.names.rollouts,
        usage=built.usage,
        limits=built.limits,
        replies=built.replies,
        tasks=built.tasks,
        images=built.images,
        signer=built.signer,
        addresses=built.addresses,
        settings=built.settings,
        metrics=built.metrics.exposition,
        version=__version__,
        ailing=lambda: (*built.background.ailing, *built.shared.ailing()),
        on_request=built.listeners,
        tell=built.listeners,
        remembered=built.remembered,
        pauses=built.pauses,
        status=built.status,
        admit=always if built.audit is None else built.audit.admit,
    )
    return http_app(services, lambda _: lifespan(), closing=built.closing)


def _known_keys(built: Rooms) -> KnownKeys:
    settings, ailing = built.settings, built.shared.ailing
    guarded = settings.redis.url is not None and not settings.auth.allow_anonymous
    return KnownKeys(StaticKeys(settings.auth), built.keys, guarded=guarded, unsure=lambda: bool(ailing()))


def _prune(settings: Settings) -> None:
    """Only by whoever has the data directory alone, before the engine runs: no copy is in use then."""
    loras = settings.loras
    prune(settings.data_directory, (), max_age_seconds=loras.store_seconds, max_total_bytes=loras.store_max_bytes)


@asynccontextmanager
async def _running_alone(built: Rooms) -> AsyncIterator[None]:
    """As `_running`, with the data directory held meanwhile. Raises DirectoryInUse."""
    with sole_server(built.settings.data_directory):
        await asyncio.to_thread(_prune, built.settings)
        async with _running(built):
            yield


@asynccontextmanager
async def _serving(built: Rooms, read_again: Callable[[], Settings]) -> AsyncIterator[None]:
    """As `_running`; from before the engine is there SIGHUP reads the settings again."""
    reloading = Reloading(built.settings, read_again, partial(_prepared, built), built.listeners)
    on_hangup(reloading.ask)
    async with built.background.doing("settings", reloading.following), _running(built):
        yield


@asynccontextmanager
async def _running(built: Rooms, *, alone: bool = True) -> AsyncIterator[None]:
    """The engine and what works in the background run until the context is left.

    Only whoever has the data directory `alone` sweeps the copies of LoRAs in it.
    """
    settings = built.settings
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(built.database.open)
        stack.callback(built.database.close)
        if built.traces is not None:
            stack.push_async_callback(asyncio.to_thread, built.traces.close)
        if alone and built.audit is not None:
            stack.enter_context(_written_down(built.audit))
        stack.push_async_callback(asyncio.to_thread, built.decoders.close)
        await built.backend.start()
        stack.push_async_callback(built.backend.stop, settings.server.shutdown_grace_seconds)
        doing = built.background.doing
        if settings.checkpoint_folder.watch:
            watch = partial(built.checkpoints.watch, built.adapters.refresh)
            await stack.enter_async_context(doing("checkpoint_folder", watch))
        if settings.loras.watch or settings.s3.bucket:
            await stack.enter_async_context(doing("lora_folder", built.adapters.watch))
        if settings.embeddings.watch:
            await stack.enter_async_context(doing("embedding_folder", built.embeddings.watch))
        await stack.enter_async_context(doing("pictures", built.images.sweeping))
        if alone:
            stack.push_async_callback(built.shared.close)
            for name, work in built.shared.works.items():
                await stack.enter_async_context(doing(name, work))
            await built.keys.load()
            await built.rollouts.load()
            await stack.enter_async_context(doing("rollouts", built.rollouts.following))
            await stack.enter_async_context(doing("keys", built.keys.following))
            built.shared.local.begin(await built.usage.pixel_steps_today())
            await stack.enter_async_context(doing("usage", built.usage.writing))
            await stack.enter_async_context(doing("feedback", built.feedback.writing))
            await stack.enter_async_context(doing("files", built.files.sweeping))
            await stack.enter_async_context(doing("idempotency", built.replies.sweeping))
            await stack.enter_async_context(doing("retention", built.remembered.sweeping))
            await stack.enter_async_context(doing("webhooks", built.webhooks.sending))
            await built.tasks.recover()
            await stack.enter_async_context(doing("jobs", built.tasks.running))
            await stack.enter_async_context(doing("batches", built.batches.running))
            await stack.enter_async_context(doing("batch_blobs", built.batches.sweeping))
            sweeper = CopySweeper(settings.data_directory, settings.loras, lambda: built.library.digests_in_use)
            await stack.enter_async_context(doing("lora_copies", sweeper.sweeping))
        yield


@contextmanager
def _written_down(audit: Audit) -> Iterator[None]:
    """What happens meanwhile is, from the server's start to its end."""
    audit.open()
    audit.note("server.started", __version__)
    try:
        yield
    finally:
        audit.note("server.ended", __version__)
        audit.close()
