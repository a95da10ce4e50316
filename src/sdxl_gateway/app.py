"""Builds the rooms in order and closes them in reverse; the only file that knows every room."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit
from socket import socket
from tempfile import TemporaryDirectory
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from sdxl_gateway import __version__
from sdxl_gateway.accounts.static_keys import StaticKeys
from sdxl_gateway.admission.resolve import Admission
from sdxl_gateway.api.http.closing import Closing
from sdxl_gateway.api.http.door import Door
from sdxl_gateway.api.http.listening import bound, connections_for, on_loop_problem
from sdxl_gateway.api.http.receive_timeout import protocol_with_timeout
from sdxl_gateway.api.replies.stream import LAST_WORDS_SECONDS
from sdxl_gateway.api.routes import http_app
from sdxl_gateway.api.services import Services
from sdxl_gateway.backends.process.backend import ProcessBackend
from sdxl_gateway.catalog.checkpoints import open_checkpoints
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.lora_folder.copies import prune
from sdxl_gateway.catalog.lora_folder.sweep import CopySweeper
from sdxl_gateway.config import DEMO_MODEL, EngineProcess, Limits, Server, Settings
from sdxl_gateway.core.background import Background
from sdxl_gateway.core.errors import CLOSING, CheckpointProblem, GatewayError
from sdxl_gateway.core.listeners import EngineListener, Listeners
from sdxl_gateway.core.memory import return_large_blocks
from sdxl_gateway.core.ports import Backend
from sdxl_gateway.delivery.deliver import Deliverer
from sdxl_gateway.gateway.library import ModelLibrary
from sdxl_gateway.gateway.paint import Gateway
from sdxl_gateway.storage.directory import DirectoryInUse, sole_server
from sdxl_gateway.storage.images import ImageFolder
from sdxl_gateway.telemetry.log_writer import flush_logs
from sdxl_gateway.telemetry.logs import configure_logs, log_answer
from sdxl_gateway.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

BackendFactory = Callable[[EngineProcess, Limits, EngineListener], Backend]
"""From what an engine has to know, how long the queue may be, and where its events go."""


def process_backend(engine: EngineProcess, limits: Limits, listener: EngineListener) -> Backend:
    """The one a server has where nothing else is asked for: a supervised engine process."""
    return ProcessBackend([engine], queue_size=limits.queue_size, listener=listener)


def serve(settings: Settings) -> None:
    """Runs the server until it is told to stop. Raises StartProblem before it listens."""
    server = settings.server
    return_large_blocks()
    with sole_server(settings.data_directory):
        built = _build(settings)
        _prune(settings)
        sockets = bound(server.host, server.port)
        config = _http_config(server, _application(built, partial(_running, built)))
        _Server(config, built).run(sockets)


def _http_config(server: Server, application: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        host=server.host,
        port=server.port,
        http=protocol_with_timeout(server.receive_timeout_seconds, _door(server)),
        timeout_keep_alive=ceil(server.keep_alive_seconds),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=ceil(server.shutdown_grace_seconds + LAST_WORDS_SECONDS),
    )


def _door(server: Server) -> Door:
    asked = server.max_connections
    most = connections_for(getrlimit(RLIMIT_NOFILE)[0]) if asked == "auto" else asked
    return Door(most, server.max_connections_per_address)


class _Server(uvicorn.Server):
    """At the end of the grace, or at a second signal, tells whoever still waits; uvicorn alone would hang up."""

    def __init__(self, config: uvicorn.Config, built: _Built) -> None:
        super().__init__(config)
        self._built = built
        self._hurry = asyncio.Event()

    async def serve(self, sockets: list[socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal asks for the end, the second for it now; it runs between any two lines of the server."""
        if self.should_exit:
            self._loop.call_soon_threadsafe(self._hurry.set)
        else:
            super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """At its end the signal that stopped the server ends the process too, at once."""
        with super().capture_signals():
            yield
            flush_logs()

    async def startup(self, sockets: list[socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(on_loop_problem)
        await super().startup(sockets)
        self._log_started_message(sockets or ())

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        ending = asyncio.create_task(self._end_waiting())
        try:
            await super().shutdown(sockets)
        finally:
            ending.cancel()

    async def _end_waiting(self) -> None:
        """Lives until the server has ended, so that a second signal hurries the engine too."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), self._built.settings.server.shutdown_grace_seconds)
        self._built.closing.begin()
        self._built.backend.drain(CLOSING)
        await self._hurry.wait()
        log.warning("told to end at once")
        await asyncio.gather(self._built.backend.stop(LAST_WORDS_SECONDS), self._hang_up())

    async def _hang_up(self) -> None:
        await asyncio.sleep(LAST_WORDS_SECONDS)
        for connection in list(self.server_state.connections):
            connection.transport.abort()


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
    adapters: LoraCatalog
    library: ModelLibrary
    images: ImageFolder
    metrics: Metrics
    listeners: Listeners
    backend: Backend
    gateway: Gateway
    background: Background
    closing: Closing = field(default_factory=Closing)


def _build(
    settings: Settings, open_backend: BackendFactory = process_backend, images_folder: Path | None = None
) -> _Built:
    """Pictures are kept in the data directory unless another folder is given."""
    configure_logs(settings.telemetry)
    checkpoints = open_checkpoints(settings.checkpoints, DEMO_MODEL)
    adapters = LoraCatalog(settings.loras, settings.data_directory, settings.demo_loras, checkpoints.values())
    adapters.scan()
    admission = Admission(settings, checkpoints, adapters)
    library = ModelLibrary(settings, checkpoints, adapters, admission.names)
    _check_default(settings, admission)
    metrics = Metrics([*checkpoints, *settings.models], settings.telemetry.lora_label_limit)
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
    deliverer = Deliverer(images, embed_recipe=settings.delivery.embed_recipe)
    gateway = Gateway(settings, admission, backend, deliverer, listeners)
    return _Built(settings, adapters, library, images, metrics, listeners, backend, gateway, Background(listeners))


def _application(built: _Built, lifespan: Callable[[], AbstractAsyncContextManager[None]]) -> Starlette:
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
        admission.names.choose(None)
    except GatewayError as error:
        raise CheckpointProblem(f"default_model: {error.message}") from error


def _engine_process(settings: Settings, admission: Admission) -> EngineProcess:
    """The engine loads the first checkpoint at its start: the default model's goes there."""
    first = admission.names.choose(None).checkpoint.name
    ordered = {first: settings.checkpoints[first], **settings.checkpoints}
    return settings.engine_process().model_copy(update={"checkpoints": ordered})


@asynccontextmanager
async def _running_alone(built: _Built) -> AsyncIterator[None]:
    """As `_running`, with the data directory held meanwhile. Raises DirectoryInUse."""
    with sole_server(built.settings.data_directory):
        await asyncio.to_thread(_prune, built.settings)
        async with _running(built):
            yield


@asynccontextmanager
async def _running(built: _Built, *, alone: bool = True) -> AsyncIterator[None]:
    """The engine and what works in the background run until the context is left.

    Only whoever has the data directory `alone` sweeps the copies of LoRAs in it.
    """
    settings = built.settings
    async with AsyncExitStack() as stack:
        await built.backend.start()
        stack.push_async_callback(built.backend.stop, settings.server.shutdown_grace_seconds)
        doing = built.background.doing
        if settings.loras.watch:
            await stack.enter_async_context(doing("lora_folder", built.adapters.watch))
        await stack.enter_async_context(doing("pictures", built.images.sweeping))
        if alone:
            sweeper = CopySweeper(settings.data_directory, settings.loras, lambda: built.library.digests_in_use)
            await stack.enter_async_context(doing("lora_copies", sweeper.sweeping))
        yield
