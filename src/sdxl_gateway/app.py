"""Builds the world in order and closes it in reverse; the only file that knows every room."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil
from socket import socket
from typing import Any

import uvicorn
from starlette.applications import Starlette

from sdxl_gateway import __version__
from sdxl_gateway.accounts.static_keys import StaticKeys
from sdxl_gateway.admission.resolve import Admission
from sdxl_gateway.api.http.receive_timeout import protocol_with_timeout
from sdxl_gateway.api.replies.stream import LAST_WORDS_SECONDS
from sdxl_gateway.api.routes import http_app
from sdxl_gateway.api.services import Services
from sdxl_gateway.backends.process.backend import ProcessBackend
from sdxl_gateway.catalog.checkpoints import open_checkpoints
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.lora_folder.copies import prune
from sdxl_gateway.config import DEMO_MODEL, EngineProcess, Settings
from sdxl_gateway.core.errors import CheckpointProblem, GatewayError
from sdxl_gateway.core.events import Measurement, RequestAnswered
from sdxl_gateway.gateway.library import ModelLibrary
from sdxl_gateway.gateway.paint import Gateway
from sdxl_gateway.storage.images import ImageStore
from sdxl_gateway.telemetry.logs import configure_logs, log_answer
from sdxl_gateway.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Runs the server until it is told to stop. Raises CheckpointProblem before it listens."""
    server = settings.server
    built = _build(settings)
    config = uvicorn.Config(
        _application(built),
        host=server.host,
        port=server.port,
        http=protocol_with_timeout(server.receive_timeout_seconds),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=ceil(server.shutdown_grace_seconds + LAST_WORDS_SECONDS),
    )
    _Server(config, built.backend.drain, server.shutdown_grace_seconds).run()


class _Server(uvicorn.Server):
    """At the end of the grace, tells whoever still waits; uvicorn alone would hang up on them."""

    def __init__(self, config: uvicorn.Config, drain: Callable[[], None], grace_seconds: float) -> None:
        super().__init__(config)
        self._close_door = drain
        self._grace_seconds = grace_seconds

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        closing = asyncio.get_running_loop().call_later(self._grace_seconds, self._close_door)
        try:
            await super().shutdown(sockets)
        finally:
            closing.cancel()


def build_app(settings: Settings) -> Starlette:
    """The ASGI application; its lifespan starts and stops the engine. Raises CheckpointProblem."""
    return _application(_build(settings))


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """The gateway a server would have, without HTTP; its engine runs meanwhile. Raises CheckpointProblem."""
    built = _build(settings)
    async with _running(built):
        yield built.gateway


@dataclass(frozen=True, slots=True)
class _Built:
    """Every room, built and not yet running."""

    settings: Settings
    adapters: LoraCatalog
    images: ImageStore
    metrics: Metrics
    backend: ProcessBackend
    gateway: Gateway


def _build(settings: Settings) -> _Built:
    configure_logs(settings.telemetry)
    checkpoints = open_checkpoints(settings.checkpoints, DEMO_MODEL)
    adapters = LoraCatalog(settings.loras, settings.data_directory, settings.demo_loras)
    adapters.scan()
    admission = Admission(settings, checkpoints, adapters)
    library = ModelLibrary(settings, checkpoints, adapters, admission.names)
    _check_default(settings, admission)
    metrics = Metrics([*checkpoints, *settings.models], settings.telemetry.lora_label_limit)
    backend = ProcessBackend(
        _engine_process(settings, admission),
        queue_size=settings.limits.queue_size,
        measure=partial(_measured, metrics, library),
    )
    metrics.follow_gauges(
        queue_depth=lambda: backend.waiting, in_flight=lambda: backend.running, ready=lambda: backend.ready
    )
    images = ImageStore(
        settings.data_directory / "images",
        keep_seconds=settings.delivery.url_seconds,
        cap_bytes=settings.delivery.max_stored_bytes,
    )
    gateway = Gateway(settings, admission, library, backend, images, metrics)
    return _Built(settings, adapters, images, metrics, backend, gateway)


def _application(built: _Built) -> Starlette:
    services = Services(
        gateway=built.gateway,
        authenticator=StaticKeys(built.settings.auth),
        images=built.images,
        settings=built.settings,
        metrics=built.metrics.exposition,
        version=__version__,
        on_request=partial(_seen, built.metrics),
    )
    return http_app(services, lambda _: _running(built))


def _prune(settings: Settings) -> None:
    """Only before the engine runs: no copy is in use then."""
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


def _measured(metrics: Metrics, library: ModelLibrary, measurement: Measurement) -> None:
    metrics.on_measurement(measurement)
    library.measured(measurement)


def _seen(metrics: Metrics, seen: RequestAnswered) -> None:
    metrics.on_request(seen.operation, seen.model, seen.status, seen.seconds, seen.retry_count, seen.response_bytes)
    metrics.on_ignored(len(seen.ignored))
    if seen.refused is not None:
        metrics.on_refused(seen.refused)
    if seen.painting:
        log_answer(
            seen.request_id,
            operation=seen.operation,
            status=seen.status,
            seconds=seen.seconds,
            tenant=seen.tenant,
            refused=seen.refused,
        )


@asynccontextmanager
async def _running(built: _Built) -> AsyncIterator[None]:
    """The engine and what works in the background run until the context is left."""
    settings = built.settings
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(_prune, settings)
        await built.backend.start()
        stack.push_async_callback(built.backend.stop, settings.server.shutdown_grace_seconds)
        if settings.loras.watch:
            await stack.enter_async_context(_in_background(built.adapters.watch()))
        await stack.enter_async_context(_in_background(built.images.sweeping()))
        yield


@asynccontextmanager
async def _in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    task.add_done_callback(_log_if_failed)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def _log_if_failed(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("work in the background ended; pictures are still painted", exc_info=error)
