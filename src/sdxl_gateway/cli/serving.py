"""Starts the server, and prints when and where it is ready."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

import typer

from sdxl_gateway.api.http.listening import bound
from sdxl_gateway.cli.asking import plain_problems, settings_for
from sdxl_gateway.cli.pulling import pull_if_missing
from sdxl_gateway.config import Settings, cautions
from sdxl_gateway.config.sources import DEFAULT_FILE
from sdxl_gateway.core.events import EngineOpened, Event

_POLL_SECONDS = 0.2


def run(config: Path | None, said: Mapping[str, Mapping[str, object]], loras: Path | None, model: str | None) -> None:
    """Serves until interrupted. Exits with a sentence on stderr if it cannot start."""
    # The file is fixed now: if an editor is replacing it during a reload, its absence is a problem, not the defaults.
    file = config or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)

    def read() -> Settings:
        return settings_for(file, loras, model, said)

    with plain_problems():
        settings = read()
    for caution in cautions(settings):
        typer.secho(f"Warning: {caution}", fg=typer.colors.YELLOW, err=True)
    if model is not None:
        pull_if_missing(settings, model)
    typer.echo(f"Loading '{settings.default_model}'.")
    real_port = _free_port(settings) if settings.server.port == 0 else settings.server.port
    _serve(_listening_at(real_port, settings), lambda: _listening_at(real_port, read()))


def _serve(settings: Settings, read_again: Callable[[], Settings]) -> None:
    from sdxl_gateway.app import serve

    closing = threading.Event()
    # Started once the port is bound: at a port in use, it is another server that would be found ready.
    announcing = threading.Thread(target=_announce, args=(settings, closing), daemon=True)
    try:
        with plain_problems():
            serve(settings, read_again, tell_device, at_its_port=announcing.start)
    finally:
        closing.set()


def tell_device(event: Event) -> None:
    """Prints an engine's device once it is opened (a Listener)."""
    if isinstance(event, EngineOpened):
        typer.echo(f"Painting on {event}.")


def _free_port(settings: Settings) -> int:
    """A port that is free now."""
    with plain_problems(), bound(settings.server.host, 0)[0] as probe:
        return int(probe.getsockname()[1])


def _listening_at(port: int, settings: Settings) -> Settings:
    """The settings with this port instead of 0, which stands for any."""
    if settings.server.port != 0:
        return settings
    return settings.model_copy(update={"server": settings.server.model_copy(update={"port": port})})


def _announce(settings: Settings, closing: threading.Event) -> None:
    url = local_url(settings)
    while not closing.wait(_POLL_SECONDS):
        if _is_ready(url):
            typer.echo(ready_words(url, settings))
            return


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:  # noqa: S310 (always our own http address)
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def local_url(settings: Settings) -> str:
    """The URL at which this machine reaches the server."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.server.host, settings.server.host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{settings.server.port}"


def ready_words(url: str, settings: Settings) -> str:
    """What is printed when the server is ready: its URL, its folders, and how to ask for a picture."""
    loras, data = settings.loras.directory.absolute(), settings.data_directory.absolute()
    return (
        f"\nReady at {url}/v1, with LoRAs in {loras} and data in {data} - try:\n\n"
        f"  curl {url}/v1/images/generations -H 'content-type: application/json' \\\n"
        f'    -d \'{{"model": "{settings.default_model}", "prompt": "a large red circle", '
        f'"response_format": "url"}}\'\n'
    )
