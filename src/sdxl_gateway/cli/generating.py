"""Paints one picture to a file, by the same gateway that a server runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sdxl_gateway.api.asks.given import Rules
from sdxl_gateway.api.asks.parse import ReadAsk, read_ask
from sdxl_gateway.api.asks.preferences import refuse_webhook
from sdxl_gateway.app import open_gateway
from sdxl_gateway.cli.asking import plain_problems, settings_for, stop, stop_if_unwritable, writing
from sdxl_gateway.cli.field_flags import BadFlag, Wish, field_lines, read_words
from sdxl_gateway.cli.pulling import pull_if_missing
from sdxl_gateway.config import Settings
from sdxl_gateway.core.ask import Ask, Operation
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import EngineFault, GatewayError
from sdxl_gateway.core.safety import Policy
from sdxl_gateway.gateway.events import Done, Item, Presented, Progressed
from sdxl_gateway.gateway.named_pictures import NamedPictures
from sdxl_gateway.gateway.paint import Gateway
from sdxl_gateway.telemetry.device import devices_of

FORMATS = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}
_POLL_SECONDS = 0.1
_GIVE_UP_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Made:
    """An encoded picture, and warnings for its user."""

    data: bytes
    warnings: tuple[str, ...] = ()


def run(words: Sequence[str], output: Path, config: Path | None, loras: Path | None, model: str | None) -> None:
    """Writes the picture to `output`. Exits with a sentence on stderr if there is none."""
    if output.suffix.lower() not in FORMATS:
        stop(f"'{output.name}' must end in {', '.join(FORMATS)}.", status=2)
    stop_if_unwritable(output)
    with plain_problems():
        settings = settings_for(config, loras, model)
        wish = _wish(words, settings)
        if model is not None:
            pull_if_missing(settings, model)
        try:
            made = _made(wish, output, settings)
        except GatewayError as refused:
            stop(refused.message)
    with writing(output):
        output.write_bytes(made.data)
    for warning in made.warnings:
        typer.secho(warning, fg=typer.colors.YELLOW, err=True)
    typer.echo(f"Wrote {output}.")


def _for_one_picture(settings: Settings) -> Settings:
    """The settings without what only pays off for a server's later pictures."""
    sizes = () if settings.engine.compiled_sizes == "auto" else settings.engine.compiled_sizes
    device = devices_of(settings.engine)[0]
    alone = {"device": device, "devices": (), "compiled_sizes": sizes, "warm_up": False}
    engine = settings.engine.model_copy(update=alone)
    return settings.model_copy(update={"engine": engine})


def show_fields(config: Path | None) -> None:
    """Prints all fields that are flags."""
    for line in field_lines(settings_for(config, None, None).limits):
        typer.echo(line)


def _wish(words: Sequence[str], settings: Settings) -> Wish:
    try:
        return read_words(words, settings.limits)
    except BadFlag as problem:
        stop(str(problem), status=2)


def _made(wish: Wish, output: Path, settings: Settings) -> Made:
    read = ask_for(wish, output, settings)
    made = asyncio.run(_paint(_for_one_picture(settings), read.ask, Console(stderr=True)))
    ignored = tuple(f"'{name}' has no effect." for name in read.ignored)
    return replace(made, warnings=(*ignored, *made.warnings))


def ask_for(wish: Wish, output: Path, settings: Settings) -> ReadAsk:
    """The request, parsed as a server would. Raises InvalidRequest, InvalidImage."""
    body: dict[str, Any] = {
        "model": settings.default_model,
        "prompt": wish.prompt,
        **wish.fields,
        "response_format": "b64_json",
        "output_format": FORMATS[output.suffix.lower()],
    }
    read = read_ask(Operation.GENERATE, body, Rules(settings.limits), files=wish.pictures)
    refuse_webhook(read.ask)
    return read


async def _paint(settings: Settings, ask: Ask, console: Console) -> Made:
    ask = await NamedPictures({}, most_bytes=0).brought(ask, Caller())
    async with open_gateway(settings) as gateway:
        # Building the gateway configures logging; one picture needs no line for each event.
        logging.getLogger().setLevel(logging.ERROR)
        with console.status("Loading the model"):
            await _until_ready(gateway)
        with _bar(console) as bar:
            async with aclosing(gateway.paint(ask, Caller(safety=Policy.OFF))) as items:
                return await _picture(items, bar)


def _bar(console: Console) -> Progress:
    """A progress bar of steps; hidden if the output is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


async def _picture(items: AsyncIterator[Item], bar: Progress) -> Made:
    data: bytes | None = None
    task = bar.add_task("Painting", total=None)
    async for item in items:
        if isinstance(item, Progressed):
            bar.update(task, completed=item.step, total=item.steps)
        elif isinstance(item, Presented):
            data = item.data
        elif isinstance(item, Done) and data is not None:
            return Made(data, item.warnings)
    raise EngineFault("No picture came out.")


async def _until_ready(gateway: Gateway) -> None:
    waited = 0.0
    while not gateway.ready:
        if waited > _GIVE_UP_SECONDS:
            stop("The model did not load.")
        await asyncio.sleep(_POLL_SECONDS)
        waited += _POLL_SECONDS
