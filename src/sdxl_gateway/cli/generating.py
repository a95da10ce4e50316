"""Takes a prompt and wishes, gives one picture file, painted by the same application a server would run."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import typer
from rich.console import Console

from sdxl_gateway.cli.asking import plain_problems, settings_for, stop
from sdxl_gateway.cli.pulling import pull_if_missing
from sdxl_gateway.config import Settings

FORMATS = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}
_POLL_SECONDS = 0.1
_GIVE_UP_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What the picture should be; None leaves it to the model's defaults."""

    prompt: str
    seed: int | None = None
    steps: int | None = None
    size: str | None = None
    negative_prompt: str | None = None
    guidance_scale: float | None = None
    sampler: str | None = None


def run(wish: Wish, output: Path, config: Path | None, loras: Path | None, model: str | None) -> None:
    if output.suffix.lower() not in FORMATS:
        stop(f"'{output.name}' must end in {', '.join(FORMATS)}.", status=2)
    with plain_problems():
        settings = _private(settings_for(config, loras, model))
        if model is not None:
            pull_if_missing(settings, model)
        data = asyncio.run(_paint(settings, body_for(wish, output, settings.default_model)))
    output.write_bytes(data)
    typer.echo(f"Wrote {output}.")


def _private(settings: Settings) -> Settings:
    """The same settings without keys: the caller and the server are one process."""
    return settings.model_copy(update={"auth": settings.auth.model_copy(update={"api_keys": ()})})


def body_for(wish: Wish, output: Path, model: str) -> dict[str, Any]:
    """The request body; what was not wished for is left out."""
    wished = {
        "seed": wish.seed,
        "steps": wish.steps,
        "size": wish.size,
        "negative_prompt": wish.negative_prompt,
        "guidance_scale": wish.guidance_scale,
        "sampler": wish.sampler,
    }
    body = {key: value for key, value in wished.items() if value is not None}
    form = FORMATS[output.suffix.lower()]
    return {**body, "model": model, "prompt": wish.prompt, "response_format": "b64_json", "output_format": form}


async def _paint(settings: Settings, body: dict[str, Any]) -> bytes:
    status = Console(stderr=True).status("Loading the model")
    async with _open_house(settings) as client:
        # Building the application sets the log up; one picture needs no line for each request.
        logging.getLogger().setLevel(logging.ERROR)
        with status:
            await _until_ready(client)
            status.update("Painting")
            answer = await client.post("/v1/images/generations", json=body)
    if answer.status_code != 200:
        stop(str(answer.json()["error"]["message"]))
    return base64.b64decode(answer.json()["data"][0]["b64_json"])


@asynccontextmanager
async def _open_house(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application in this very process, whose engine runs while the context is open."""
    from sdxl_gateway.app import build_app

    app = build_app(settings)
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=_GIVE_UP_SECONDS) as client,
    ):
        yield client


async def _until_ready(client: httpx.AsyncClient) -> None:
    waited = 0.0
    while (await client.get("/readyz")).status_code != 200:
        if waited > _GIVE_UP_SECONDS:
            stop("The model did not load.")
        await asyncio.sleep(_POLL_SECONDS)
        waited += _POLL_SECONDS
