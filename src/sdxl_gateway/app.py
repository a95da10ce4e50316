"""Starts the rooms in order and stops them in reverse, with HTTP or without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
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
from sdxl_gateway.core.order import ROLLOUT
from sdxl_gateway.gateway.paint import Gateway
from sdxl_gateway.rooms import (
    BackendFactory,
    Rooms,
    backend_of,
    build_rooms,
    process_backend,
)
from sdxl_gateway.storage.directory import DirectoryInUse, sole_server
from sdxl_gateway.telemetry.audit.writer import Audit
from sdxl_gateway.telemetry.logs import set_log_level

Working = Callable[[], Awaitable[None]]
"""Runs until it is cancelled."""


def _nothing() -> None:
    """The default for `at_its_port`."""


def serve(
    settings: Settings, read_again: Callable[[], Settings], *told: Listener, at_its_port: Callable[[], None] = _nothing
) -> None:
    """Run the server until it is told to stop; at each SIGHUP it goes on with the settings that `read_again` returns.

    `told` listen to events, besides its own listeners; `at_its_port` is called once the port is bound.
    Raises StartProblem before that.
    """
    server = settings.server
    return_large_blocks()
    with sole_server(settings.data_directory):
        built = build_rooms(settings, backend_of(settings), listeners=told)
        built.persistence.database.open()
        built.accounts.keys.load_now()
        refuse_anonymous(settings, _known_keys(built))
        _prune(settings)
        sockets = bound(server.host, server.port)
        at_its_port()
        built.front.current = _application(built, partial(_serving, built, read_again))
        config, grace_seconds = http_config(server, built.front), server.shutdown_grace_seconds
        HttpServer(config, built.closing, built.painting.backend, grace_seconds).run(sockets)


def build_app(settings: Settings, backend: BackendFactory = process_backend) -> Starlette:
    """The ASGI application; its lifespan locks the data directory, and starts and stops the engine.

    Raises StartProblem; so does its lifespan when another server uses the directory.
    """
    built = build_rooms(settings, backend)
    return _application(built, partial(_running_alone, built))


@asynccontextmanager
async def open_gateway(settings: Settings, backend: BackendFactory = process_backend) -> AsyncIterator[Gateway]:
    """The gateway that a server would have, without HTTP; its engine runs within the context. Raises StartProblem.

    It does not touch what a server on the same data directory may be using, and keeps no data after the context.
    """
    with TemporaryDirectory(prefix="sdxl-gateway-") as scratch:
        built = build_rooms(settings.model_copy(update={"redis": Redis()}), backend, Path(scratch))
        with suppress(DirectoryInUse), sole_server(settings.data_directory):
            await asyncio.to_thread(_prune, settings)
        async with _running(built, alone=False):
            yield built.painting.gateway


def _prepared(built: Rooms, settings: Settings) -> PutInForce:
    """A second application with other settings. Raises CheckpointProblem for a name in them that does not exist."""
    refuse_gaps(built.settings, settings, built.catalogs.checkpoints, built.catalogs.adapters)
    fresh = built.with_settings(settings)
    application = _application(fresh)

    def put_in_force() -> None:
        set_log_level(settings.telemetry)
        metrics, stores, work = built.observers.metrics, built.stores, built.work
        metrics.know_models(settings.model_names)
        metrics.know_arms(arms_of(settings))
        built.remembered.retention = settings.retention
        stores.files.limits = settings.files
        stores.results.limit(max_bytes=settings.results.max_bytes, seconds=settings.results.seconds)
        stores.images.limit(settings.delivery)
        work.tasks.paint_with(fresh.painting.gateway)
        form = BatchLines(settings, fresh.painting.pictures, stores.images, stores.addresses)
        work.batches.follow(form, settings.batches, settings.files.batch_keep_seconds)
        built.front.current = application

    return put_in_force


def _application(built: Rooms, lifespan: Callable[[], AbstractAsyncContextManager[None]] = nullcontext) -> Starlette:
    painting, stores, observers, work = built.painting, built.stores, built.observers, built.work
    services = Services(
        gateway=painting.gateway,
        library=built.intake.library,
        authenticator=_known_keys(built),
        keys=built.accounts.keys,
        files=stores.files,
        webhooks=work.webhooks.store,
        pictures=painting.pictures,
        batches=work.batches,
        moderations=painting.moderations,
        reviews=stores.reviews,
        feedback=observers.feedback,
        arms=work.arms,
        rollouts=lambda: built.intake.admission.names.rollouts,
        usage=built.accounts.usage,
        limits=built.accounts.limits,
        replies=stores.replies,
        tasks=work.tasks,
        images=stores.images,
        signer=stores.signer,
        addresses=stores.addresses,
        settings=built.settings,
        metrics=observers.metrics.exposition,
        version=__version__,
        ailing=lambda: (*built.background.ailing, *built.fleet.shared.ailing()),
        on_request=observers.listeners,
        tell=observers.listeners,
        remembered=built.remembered,
        pauses=observers.pauses,
        status=observers.status,
        admit=always if observers.audit is None else observers.audit.admit,
    )
    return http_app(services, lambda _: lifespan(), closing=built.closing)


def _known_keys(built: Rooms) -> KnownKeys:
    settings, ailing = built.settings, built.fleet.shared.ailing
    guarded = settings.redis.url is not None and not settings.auth.allow_anonymous
    return KnownKeys(StaticKeys(settings.auth), built.accounts.keys, guarded=guarded, unsure=lambda: bool(ailing()))


def _prune(settings: Settings) -> None:
    """Delete old copies of LoRAs, while the data directory is locked and no engine runs: none is in use then."""
    loras = settings.loras
    prune(settings.data_directory, (), max_age_seconds=loras.store_seconds, max_total_bytes=loras.store_max_bytes)


@asynccontextmanager
async def _running_alone(built: Rooms) -> AsyncIterator[None]:
    """As `_running`, with the data directory locked. Raises DirectoryInUse."""
    with sole_server(built.settings.data_directory):
        await asyncio.to_thread(_prune, built.settings)
        async with _running(built):
            yield


@asynccontextmanager
async def _serving(built: Rooms, read_again: Callable[[], Settings]) -> AsyncIterator[None]:
    """As `_running`; SIGHUP reads the settings again, from before the engine is started."""
    reloading = Reloading(built.settings, read_again, partial(_prepared, built), built.observers.listeners)
    on_hangup(reloading.ask)
    async with built.background.doing("settings", reloading.following), _running(built):
        yield


@asynccontextmanager
async def _running(built: Rooms, *, alone: bool = True) -> AsyncIterator[None]:
    """The engine and all background work run until the context is left.

    Without `alone` another server may use the data directory, so that nothing that belongs to it is done.
    """
    observers, backend, doing = built.observers, built.painting.backend, built.background.doing
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(built.persistence.database.open)
        stack.callback(built.persistence.database.close)
        if observers.traces is not None:
            stack.push_async_callback(asyncio.to_thread, observers.traces.close)
        if alone and observers.audit is not None:
            stack.enter_context(_written_down(observers.audit))
        stack.push_async_callback(asyncio.to_thread, built.intake.decoders.close)
        await backend.start()
        stack.push_async_callback(backend.stop, built.settings.server.shutdown_grace_seconds)
        for name, work in _looking(built).items():
            await stack.enter_async_context(doing(name, work))
        if alone:
            stack.push_async_callback(built.fleet.shared.close)
            for name, work in built.fleet.shared.works.items():
                await stack.enter_async_context(doing(name, work))
            await _remember(built)
            for name, work in _keeping(built).items():
                await stack.enter_async_context(doing(name, work))
        yield


def _looking(built: Rooms) -> dict[str, Working]:
    """Background work without the data directory: folders are watched, pictures expire."""
    settings, catalogs = built.settings, built.catalogs
    works: dict[str, Working] = {}
    if settings.checkpoint_folder.watch or settings.s3.bucket:
        works["checkpoint_folder"] = partial(catalogs.checkpoints.watch, catalogs.adapters.refresh)
    if settings.loras.watch or settings.s3.bucket:
        works["lora_folder"] = catalogs.adapters.watch
    if settings.embeddings.watch:
        works["embedding_folder"] = catalogs.embeddings.watch
    return {**works, "pictures": built.stores.images.sweeping}


async def _remember(built: Rooms) -> None:
    """Load what the last server knew, carry out orders of meanwhile, and continue its work."""
    await built.accounts.keys.load()
    await built.intake.rollouts.load()
    built.fleet.shared.local.begin(await built.accounts.usage.pixel_steps_today())
    if built.fleet.orders is not None:
        built.fleet.orders.follow(ROLLOUT, built.intake.rollouts.take)
        await built.fleet.orders.turn()
    await built.work.tasks.recover()
    await built.work.batches.recover()


def _keeping(built: Rooms) -> dict[str, Working]:
    """Background work on the data directory."""
    stores, work = built.stores, built.work
    fleet = {"orders": built.fleet.orders, "questions": built.fleet.questions}
    copies = CopySweeper(built.persistence.home, built.settings.loras, lambda: built.intake.library.digests_in_use)
    return {
        **{name: one.running for name, one in fleet.items() if one is not None},
        "rollouts": built.intake.rollouts.following,
        "keys": built.accounts.keys.following,
        "usage": built.accounts.usage.writing,
        "feedback": built.observers.feedback.writing,
        "files": stores.files.sweeping,
        "results": stores.results.sweeping,
        "pictures_told": stores.images.sharing,
        "idempotency": stores.replies.sweeping,
        "retention": built.remembered.sweeping,
        "webhooks": work.webhooks.sending,
        "fleet": work.tasks.sharing,
        "jobs": work.tasks.running,
        "batches_told": work.batches.sharing,
        "batches": work.batches.running,
        "batch_blobs": work.batches.sweeping,
        "lora_copies": copies.sweeping,
    }


@contextmanager
def _written_down(audit: Audit) -> Iterator[None]:
    """Events within the context are written to the audit log, the server's start and end too."""
    audit.open()
    audit.note("server.started", __version__)
    try:
        yield
    finally:
        audit.note("server.ended", __version__)
        audit.close()
