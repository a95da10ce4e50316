"""Runs the rooms: opened in order, closed in reverse, under HTTP or without."""

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
    under,
)
from sdxl_gateway.storage.directory import DirectoryInUse, sole_server
from sdxl_gateway.telemetry.audit.writer import Audit
from sdxl_gateway.telemetry.logs import set_log_level

Working = Callable[[], Awaitable[None]]
"""Goes on until it is cancelled."""


def _nothing() -> None:
    """Where nobody wants to know."""


def serve(
    settings: Settings, read_again: Callable[[], Settings], *told: Listener, at_its_port: Callable[[], None] = _nothing
) -> None:
    """Runs the server until it is told to stop; at each SIGHUP it runs on by the settings `read_again` gives.

    `told` hear what happens, besides its own listeners; `at_its_port` is called once nobody else can listen there.
    Raises StartProblem before that.
    """
    server = settings.server
    return_large_blocks()
    with sole_server(settings.data_directory):
        built = build_rooms(settings, backend_of(settings), listeners=told)
        built.ground.database.open()
        built.teams.keys.load_now()
        refuse_anonymous(settings, _known_keys(built))
        _prune(settings)
        sockets = bound(server.host, server.port)
        at_its_port()
        built.front.current = _application(built, partial(_serving, built, read_again))
        config, grace_seconds = http_config(server, built.front), server.shutdown_grace_seconds
        HttpServer(config, built.closing, built.painting.backend, grace_seconds).run(sockets)


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
            yield built.painting.gateway


def _prepared(built: Rooms, settings: Settings) -> PutInForce:
    """An application by other settings beside the one that runs. Raises CheckpointProblem where they name nothing."""
    refuse_gaps(built.settings, settings, built.shelves.checkpoints, built.shelves.adapters)
    fresh = under(built, settings)
    application = _application(fresh)

    def put_in_force() -> None:
        set_log_level(settings.telemetry)
        metrics, stores, work = built.watch.metrics, built.stores, built.work
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
    painting, stores, watch, teams, work = built.painting, built.stores, built.watch, built.teams, built.work
    services = Services(
        gateway=painting.gateway,
        library=built.intake.library,
        authenticator=_known_keys(built),
        keys=teams.keys,
        files=stores.files,
        webhooks=work.webhooks.store,
        pictures=painting.pictures,
        batches=work.batches,
        moderations=painting.moderations,
        reviews=stores.reviews,
        feedback=watch.feedback,
        arms=work.arms,
        rollouts=lambda: built.intake.admission.names.rollouts,
        usage=teams.usage,
        limits=teams.limits,
        replies=stores.replies,
        tasks=work.tasks,
        images=stores.images,
        signer=stores.signer,
        addresses=stores.addresses,
        settings=built.settings,
        metrics=watch.metrics.exposition,
        version=__version__,
        ailing=lambda: (*built.background.ailing, *teams.shared.ailing()),
        on_request=watch.listeners,
        tell=watch.listeners,
        remembered=built.remembered,
        pauses=watch.pauses,
        status=watch.status,
        admit=always if watch.audit is None else watch.audit.admit,
    )
    return http_app(services, lambda _: lifespan(), closing=built.closing)


def _known_keys(built: Rooms) -> KnownKeys:
    settings, ailing = built.settings, built.teams.shared.ailing
    guarded = settings.redis.url is not None and not settings.auth.allow_anonymous
    return KnownKeys(StaticKeys(settings.auth), built.teams.keys, guarded=guarded, unsure=lambda: bool(ailing()))


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
    reloading = Reloading(built.settings, read_again, partial(_prepared, built), built.watch.listeners)
    on_hangup(reloading.ask)
    async with built.background.doing("settings", reloading.following), _running(built):
        yield


@asynccontextmanager
async def _running(built: Rooms, *, alone: bool = True) -> AsyncIterator[None]:
    """The engine and what works in the background run until the context is left.

    Only whoever has the data directory `alone` sweeps the copies of LoRAs in it.
    """
    watch, backend, doing = built.watch, built.painting.backend, built.background.doing
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(built.ground.database.open)
        stack.callback(built.ground.database.close)
        if watch.traces is not None:
            stack.push_async_callback(asyncio.to_thread, watch.traces.close)
        if alone and watch.audit is not None:
            stack.enter_context(_written_down(watch.audit))
        stack.push_async_callback(asyncio.to_thread, built.intake.decoders.close)
        await backend.start()
        stack.push_async_callback(backend.stop, built.settings.server.shutdown_grace_seconds)
        for name, work in _looking(built).items():
            await stack.enter_async_context(doing(name, work))
        if alone:
            stack.push_async_callback(built.teams.shared.close)
            for name, work in built.teams.shared.works.items():
                await stack.enter_async_context(doing(name, work))
            await _remember(built)
            for name, work in _keeping(built).items():
                await stack.enter_async_context(doing(name, work))
        yield


def _looking(built: Rooms) -> dict[str, Working]:
    """Goes on beside any engine: folders are looked into, pictures go in time."""
    settings, shelves = built.settings, built.shelves
    works: dict[str, Working] = {}
    if settings.checkpoint_folder.watch or settings.s3.bucket:
        works["checkpoint_folder"] = partial(shelves.checkpoints.watch, shelves.adapters.refresh)
    if settings.loras.watch or settings.s3.bucket:
        works["lora_folder"] = shelves.adapters.watch
    if settings.embeddings.watch:
        works["embedding_folder"] = shelves.embeddings.watch
    return {**works, "pictures": built.stores.images.sweeping}


async def _remember(built: Rooms) -> None:
    """What was known when the last server ended, what all gateways were to do meanwhile, and the work that is left."""
    await built.teams.keys.load()
    await built.intake.rollouts.load()
    built.teams.shared.local.begin(await built.teams.usage.pixel_steps_today())
    if built.teams.orders is not None:
        built.teams.orders.follow(ROLLOUT, built.intake.rollouts.take)
        await built.teams.orders.turn()
    await built.work.tasks.recover()
    await built.work.batches.recover()


def _keeping(built: Rooms) -> dict[str, Working]:
    """Goes on where the data directory is this server's alone."""
    stores, work, teams = built.stores, built.work, built.teams
    fleet = {"orders": teams.orders, "questions": teams.questions}
    copies = CopySweeper(built.ground.home, built.settings.loras, lambda: built.intake.library.digests_in_use)
    return {
        **{name: one.running for name, one in fleet.items() if one is not None},
        "rollouts": built.intake.rollouts.following,
        "keys": built.teams.keys.following,
        "usage": built.teams.usage.writing,
        "feedback": built.watch.feedback.writing,
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
    """What happens meanwhile is, from the server's start to its end."""
    audit.open()
    audit.note("server.started", __version__)
    try:
        yield
    finally:
        audit.note("server.ended", __version__)
        audit.close()
