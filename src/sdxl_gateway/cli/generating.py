"""Takes a prompt and wishes, gives one picture file, painted by the same gateway a server would run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sdxl_gateway.api.asks.given import Rules
from sdxl_gateway.api.asks.parse import read_ask
from sdxl_gateway.app import open_gateway
from sdxl_gateway.cli.asking import plain_problems, settings_for, stop
from sdxl_gateway.cli.pulling import pull_if_missing
from sdxl_gateway.config import Settings
from sdxl_gateway.core.ask import Ask, Operation
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import EngineFault, GatewayError
from sdxl_gateway.gateway.events import Item, Presented, Progressed
from sdxl_gateway.gateway.paint import Gateway

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
    """Writes the picture to `output`. Exits with a sentence on stderr when there is none."""
    if output.suffix.lower() not in FORMATS:
        stop(f"'{output.name}' must end in {', '.join(FORMATS)}.", status=2)
    with plain_problems():
        settings = settings_for(config, loras, model)
        if model is not None:
            pull_if_missing(settings, model)
        try:
            ask = ask_for(wish, output, settings)
            data = asyncio.run(_paint(_for_one_picture(settings), ask, Console(stderr=True)))
        except GatewayError as refused:
            stop(refused.message)
    output.write_bytes(data)
    typer.echo(f"Wrote {output}.")


def _for_one_picture(settings: Settings) -> Settings:
    """Without what a server does for the pictures after its first."""
    sizes = () if settings.engine.compiled_sizes == "auto" else settings.engine.compiled_sizes
    engine = settings.engine.model_copy(update={"compiled_sizes": sizes, "warm_up": False})
    return settings.model_copy(update={"engine": engine})


def ask_for(wish: Wish, output: Path, settings: Settings) -> Ask:
    """The Ask a request to the server would be. Raises InvalidRequest."""
    body: dict[str, Any] = {
        "model": settings.default_model,
        "prompt": wish.prompt,
        "seed": wish.seed,
        "steps": wish.steps,
        "size": wish.size,
        "negative_prompt": wish.negative_prompt,
        "guidance_scale": wish.guidance_scale,
        "sampler": wish.sampler,
        "response_format": "b64_json",
        "output_format": FORMATS[output.suffix.lower()],
    }
    return read_ask(Operation.GENERATE, body, Rules(settings.limits)).ask


async def _paint(settings: Settings, ask: Ask, console: Console) -> bytes:
    async with open_gateway(settings) as gateway:
        # Building the gateway sets the log up; one picture needs no line for each event.
        logging.getLogger().setLevel(logging.ERROR)
        with console.status("Loading the model"):
            await _until_ready(gateway)
        with _bar(console) as bar:
            async with aclosing(gateway.paint(ask, Caller())) as items:
                return await _picture(items, bar)


def _bar(console: Console) -> Progress:
    """Steps done and all steps; nothing where nobody looks on."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


async def _picture(items: AsyncIterator[Item], bar: Progress) -> bytes:
    task = bar.add_task("Painting", total=None)
    async for item in items:
        if isinstance(item, Progressed):
            bar.update(task, completed=item.step, total=item.steps)
        elif isinstance(item, Presented):
            return item.data
    raise EngineFault("No picture came out.")


async def _until_ready(gateway: Gateway) -> None:
    waited = 0.0
    while not gateway.ready:
        if waited > _GIVE_UP_SECONDS:
            stop("The model did not load.")
        await asyncio.sleep(_POLL_SECONDS)
        waited += _POLL_SECONDS
