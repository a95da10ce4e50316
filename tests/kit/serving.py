"""The whole product with an engine that paints grey immediately, and an HTTP client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from sdxl_gateway.app import build_app
from sdxl_gateway.backends.fake_engine import open_fake_engine
from sdxl_gateway.backends.local import LocalBackend
from sdxl_gateway.config import EngineProcess, Limits, Loras, Settings
from sdxl_gateway.core.listeners import EngineListener
from sdxl_gateway.rooms import BackendFactory


def local(_: EngineProcess, limits: Limits, listener: EngineListener) -> LocalBackend:
    """A backend with the fake engine on a thread."""
    return LocalBackend(open_fake_engine, queue_size=limits.queue_size, listener=listener)


@asynccontextmanager
async def served_by(backend: BackendFactory, folder: Path, **sections: Any) -> AsyncIterator[httpx.AsyncClient]:
    """As `served`, with another backend."""
    settings = Settings(data_directory=folder / "data", loras=Loras(directory=folder / "loras"), **sections)
    app = build_app(settings, backend)
    transport = httpx.ASGITransport(app=app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://gw") as client:
        yield client


def served(folder: Path, **sections: Any) -> AbstractAsyncContextManager[httpx.AsyncClient]:
    """A client of a server that runs as long as the context is open, its data in `folder`."""
    return served_by(local, folder, **sections)
