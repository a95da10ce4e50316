"""Builds the rooms in order and closes them in reverse; the only file that knows every room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from starlette.applications import Starlette

from sdxl_gateway import __version__
from sdxl_gateway.accounts.static_keys import StaticKeys
from sdxl_gateway.admission.configured_names import problems
from sdxl_gateway.admission.model_names import ModelResolver
from sdxl_gateway.admission.resolve import Admission
from sdxl_gateway.api.http.closing import Closing
from sdxl_gateway.api.http.hangup import on_hangup
from sdxl_gateway.api.http.listening import bound
from sdxl_gateway.api.http.replaceable import Replaceable
from sdxl_gateway.api.http.server import HttpServer, http_config
from sdxl_gateway.api.routes import http_app
from sdxl_gateway.api.services import Services
from sdxl_gateway.backends.process.backend import ProcessBackend
from sdxl_gateway.catalog.checkpoint_folder.catalog import CheckpointCatalog
from sdxl_gateway.catalog.checkpoints import open_checkpoints, with_ip_adapter
from sdxl_gateway.catalog.controls import open_controls
from sdxl_gateway.catalog.embedding_folder.catalog import EmbeddingCatalog
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.lora_folder.copies import prune
from sdxl_gateway.catalog.lora_folder.sweep import CopySweeper
from sdxl_gateway.catalog.preview_vae import preview_vae_folder
from sdxl_gateway.catalog.upscalers import open_upscalers
from sdxl_gateway.config import DEMO_MATTE, DEMO_MODEL, EngineProcess, Limits, PutInForce, Reloading, Settings
from sdxl_gateway.core.background import Background
from sdxl_gateway.core.errors import CheckpointProblem, GatewayError
from sdxl_gateway.core.listeners import EngineListener, Listeners
from sdxl_gateway.core.memory import return_large_blocks
from sdxl_gateway.core.ports import Backend, Matte
from sdxl_gateway.decoding.pool import Decoders
from sdxl_gateway.delivery.deliver import Deliverer
from sdxl_gateway.gateway.library import ModelLibrary
from sdxl_gateway.gateway.paint import Gateway
from sdxl_gateway.matting.open import open_matte
from sdxl_gateway.storage.directory import DirectoryInUse, sole_server
from sdxl_gateway.storage.images import ImageFolder
from sdxl_gateway.telemetry.logs import configure_logs, log_answer, set_log_level
from sdxl_gateway.telemetry.metrics import Metrics

BackendFactory = Callable[[EngineProcess, Limits, EngineListener], Backend]
"""From what an engine has to know, how long the queue may be, and where its events go."""


def process_backend(engine: EngineProcess, limits: Limits, listener: EngineListener) -> Backend:
    """The one a server has where nothing else is asked for: a supervised engine process."""
    return ProcessBackend([engine], queue_size=limits.queue_size, listener=listener)


def serve(settings: Settings, read_again: Callable[[], Settings]) -> None:
    """Runs the server until it is told to stop; at each SIGHUP it runs on by the settings `read_again` gives.

    Raises StartProblem before it listens.
    """
    server = settings.server
    return_large_blocks()
    with sole_server(settings.data_directory):
        built = _build(settings)
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
    built = _build(settings, backend)
    return _application(built, partial(_running_alone, built))


@asynccontextmanager
async def open_gateway(settings: Settings, backend: BackendFactory = process_backend) -> AsyncIterator[Gateway]:
    """The gateway a server would have, without HTTP; its engine runs meanwhile. Raises StartProblem.

    It leaves alone what a server on the same data directory may be using, and keeps no picture beyond the context.
    """
    with TemporaryDirectory(prefix="sdxl-gateway-") as images:
        built = _build(settings, backend, Path(images))
        with suppress(DirectoryInUse), sole_server(settings.data_directory):
            await asyncio.to_thread(_prune, settings)
        async with _running(built, alone=False):
            yield built.gateway


@dataclass(frozen=True, slots=True)
class _Built:
    """Every room, built and not yet running."""

    settings: Settings
    checkpoints: CheckpointCatalog
    adapters: LoraCatalog
    embeddings: EmbeddingCatalog
    admission: Admission
    library: ModelLibrary
    images: ImageFolder
    metrics: Metrics
    listeners: Listeners
    backend: Backend
    decoders: Decoders
    matte: Matte | None
    gateway: Gateway
    background: Background
    closing: Closing = field(default_factory=Closing)
    front: Replaceable = field(default_factory=Replaceable)


def _build(
    settings: Settings, open_backend: BackendFactory = process_backend, images_folder: Path | None = None
) -> _Built:
    """Pictures are kept in the data directory unless another folder is given."""
    configure_logs(settings.telemetry)
    configured = with_ip_adapter(open_checkpoints(settings.checkpoints, DEMO_MODEL), settings.ip_adapter)
    checkpoints = CheckpointCatalog(configured, settings.checkpoint_folder)
    checkpoints.scan()
    adapters = LoraCatalog(settings.loras, settings.data_directory, settings.demo_loras, checkpoints.values())
    adapters.scan()
    embeddings = EmbeddingCatalog(settings.embeddings, settings.data_directory, checkpoints.values())
    embeddings.scan()
    told = settings.telemetry
    metrics = Metrics(_models(settings), told.lora_label_limit, checkpoints, told.checkpoint_label_limit)
    decoders = Decoders(settings.limits, metrics.on_event)
    preview_vae_folder(settings.engine.preview_vae)  # what the engine could not load stops the start
    controls, upscalers = open_controls(settings.controls), open_upscalers(settings.upscalers)
    matte = open_matte(settings.matting, DEMO_MATTE, metrics.on_event)
    admission = Admission(settings, checkpoints, adapters, decoders, embeddings, controls, matte, upscalers)
    library = ModelLibrary(settings, checkpoints, adapters, admission.names, embeddings, controls)
    _check_default(settings, admission)
    listeners = Listeners(metrics.on_event, library.on_event, log_answer)
    backend = open_backend(_engine_process(settings, admission), settings.limits, listeners)
    metrics.follow_gauges(
        queue_depth=lambda: backend.waiting, in_flight=lambda: backend.running, ready=lambda: backend.ready
    )
    images = ImageFolder(
        images_folder or settings.data_directory / "images",
        keep_seconds=settings.delivery.url_seconds,
        cap_bytes=settings.delivery.max_stored_bytes,
    )
    deliverer = Deliverer(images, embed_recipe=settings.delivery.embed_recipe, matte=matte)
    gateway = Gateway(settings, admission, backend, deliverer, listeners)
    return _Built(
        settings,
        checkpoints,
        adapters,
        embeddings,
        admission,
        library,
        images,
        metrics,
        listeners,
        backend,
        decoders,
        matte,
        gateway,
        Background(listeners),
    )


def _models(settings: Settings) -> tuple[str, ...]:
    """The names that metrics may tell apart."""
    return (*settings.checkpoints, *settings.models)


def _prepared(built: _Built, settings: Settings) -> PutInForce:
    """An application by other settings beside the one that runs. Raises CheckpointProblem where they name nothing."""
    _refuse_gaps(built, settings)
    application = _application(_under(built, settings))

    def put_in_force() -> None:
        set_log_level(settings.telemetry)
        built.metrics.know_models(_models(settings))
        built.images.limit(keep_seconds=settings.delivery.url_seconds, cap_bytes=settings.delivery.max_stored_bytes)
        built.front.current = application

    return put_in_force


def _under(built: _Built, settings: Settings) -> _Built:
    """The rooms that follow settings built anew; what holds sockets, engines, folders or memories stays as it is."""
    names = ModelResolver(settings, built.checkpoints, built.adapters)
    admission = built.admission.under(settings, names)
    deliverer = Deliverer(built.images, embed_recipe=settings.delivery.embed_recipe, matte=built.matte)
    return replace(
        built,
        settings=settings,
        admission=admission,
        library=built.library.under(settings, names),
        gateway=Gateway(settings, admission, built.backend, deliverer, built.listeners),
    )


def _refuse_gaps(built: _Built, settings: Settings) -> None:
    """Raises CheckpointProblem for names that mean nothing, but not for those that mean nothing already."""
    known = set(problems(built.settings, built.checkpoints, built.adapters))
    new = [found for found in problems(settings, built.checkpoints, built.adapters) if found not in known]
    if new:
        raise CheckpointProblem(" ".join(f"{key}: {reason}" for key, reason in new))


def _application(built: _Built, lifespan: Callable[[], AbstractAsyncContextManager[None]] = nullcontext) -> Starlette:
    services = Services(
        gateway=built.gateway,
        library=built.library,
        authenticator=StaticKeys(built.settings.auth),
        images=built.images,
        settings=built.settings,
        metrics=built.metrics.exposition,
        version=__version__,
        ailing=lambda: built.background.ailing,
        on_request=built.listeners,
    )
    return http_app(services, lambda _: lifespan(), closing=built.closing)


def _prune(settings: Settings) -> None:
    """Only by whoever has the data directory alone, before the engine runs: no copy is in use then."""
    loras = settings.loras
    prune(settings.data_directory, (), max_age_seconds=loras.store_seconds, max_total_bytes=loras.store_max_bytes)


def _check_default(settings: Settings, admission: Admission) -> None:
    try:
        default = admission.names.choose(None).checkpoint
    except GatewayError as error:
        raise CheckpointProblem(f"default_model: {error.message}") from error
    if default.refines:
        raise CheckpointProblem(f"default_model: '{default.name}' is a refiner, which paints from pictures alone.")


def _engine_process(settings: Settings, admission: Admission) -> EngineProcess:
    """The engine loads the first checkpoint at its start: the default model's goes there."""
    first, process = admission.names.choose(None).checkpoint.name, settings.engine_process()
    if first not in settings.checkpoints:
        return process.model_copy(update={"first_in_folder": first})
    ordered = {first: settings.checkpoints[first], **settings.checkpoints}
    return process.model_copy(update={"checkpoints": ordered})


@asynccontextmanager
async def _running_alone(built: _Built) -> AsyncIterator[None]:
    """As `_running`, with the data directory held meanwhile. Raises DirectoryInUse."""
    with sole_server(built.settings.data_directory):
        await asyncio.to_thread(_prune, built.settings)
        async with _running(built):
            yield


@asynccontextmanager
async def _serving(built: _Built, read_again: Callable[[], Settings]) -> AsyncIterator[None]:
    """As `_running`; from before the engine is there SIGHUP reads the settings again."""
    reloading = Reloading(built.settings, read_again, partial(_prepared, built), built.listeners)
    on_hangup(reloading.ask)
    async with built.background.doing("settings", reloading.following), _running(built):
        yield


@asynccontextmanager
async def _running(built: _Built, *, alone: bool = True) -> AsyncIterator[None]:
    """The engine and what works in the background run until the context is left.

    Only whoever has the data directory `alone` sweeps the copies of LoRAs in it.
    """
    settings = built.settings
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, built.decoders.close)
        await built.backend.start()
        stack.push_async_callback(built.backend.stop, settings.server.shutdown_grace_seconds)
        doing = built.background.doing
        if settings.checkpoint_folder.watch:
            watch = partial(built.checkpoints.watch, built.adapters.refresh)
            await stack.enter_async_context(doing("checkpoint_folder", watch))
        if settings.loras.watch:
            await stack.enter_async_context(doing("lora_folder", built.adapters.watch))
        if settings.embeddings.watch:
            await stack.enter_async_context(doing("embedding_folder", built.embeddings.watch))
        await stack.enter_async_context(doing("pictures", built.images.sweeping))
        if alone:
            sweeper = CopySweeper(settings.data_directory, settings.loras, lambda: built.library.digests_in_use)
            await stack.enter_async_context(doing("lora_copies", sweeper.sweeping))
        yield
