"""Loads the settings by the flags that all commands share; problems end the command with a plain sentence."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import typer

from sdxl_gateway.config import Checkpoint, ConfigProblem, Settings, load_settings

# Neither half of a Hub id begins with a dot, so that ./file.safetensors is always a path, existing or not.
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
HUB_FILE = re.compile(r"(\w[\w.-]*/\w[\w.-]*):(?!.*\.\.)([^:\\]+\.safetensors)")


def settings_for(
    config: Path | None, loras: Path | None, model: str | None, said: Mapping[str, Mapping[str, object]] | None = None
) -> Settings:
    """The settings from flags, environment and file; None stands for a flag that is not given.

    `said` is by section and key.
    """
    overrides: dict[str, Any] = {
        section: {key: value for key, value in keys.items() if value is not None}
        for section, keys in (said or {}).items()
    }
    if loras is not None:
        overrides["loras"] = {"directory": loras}
    settings = load_settings(config, overrides)
    return settings if model is None else with_model(settings, model)


def with_model(settings: Settings, model: str) -> Settings:
    """The settings with `model` as default. A folder, a file or a Hub id is added as a checkpoint; a name stays a name.

    Raises ConfigProblem for a path that does not exist.
    """
    if model in settings.checkpoints or model in settings.models:
        return settings.model_copy(update={"default_model": model})
    local = Path(model).expanduser()
    if local.is_dir():
        return _with_checkpoint(settings, _word(local.resolve().name), str(local.resolve()))
    if local.is_file():
        return _with_checkpoint(settings, _word(local.stem), str(local.absolute()))
    if HUB_ID.fullmatch(model):
        return _with_checkpoint(settings, model, model)
    if found := HUB_FILE.fullmatch(model):
        return _with_checkpoint(settings, _word(Path(found[2]).stem), model)
    if model.startswith((".", "/", "~")):
        raise ConfigProblem(f"--model: there is no file or folder {model}.")
    return settings.model_copy(update={"default_model": model})


def _word(name: str) -> str:
    """The name of a folder or file as a model name, which has neither whitespace nor plus signs."""
    return re.sub(r"[+\s]+", "-", name)


def _with_checkpoint(settings: Settings, name: str, path: str) -> Settings:
    checkpoints = {**settings.checkpoints, name: Checkpoint(path=path)}
    return settings.model_copy(update={"checkpoints": checkpoints, "default_model": name})


def stop_if_unwritable(output: Path) -> None:
    """Ends the command if `output` cannot be written, before the work rather than after it."""
    if not os.access(output.parent, os.W_OK) or output.is_dir():
        stop(f"{output} cannot be written: {_unwritable(output)}.", status=2)


@contextmanager
def writing(output: Path) -> Iterator[None]:
    """Ends the command with a sentence if writing to `output` in the block fails."""
    try:
        yield
    except OSError as error:
        stop(f"{output} cannot be written: {error.strerror or error}.")


def _unwritable(output: Path) -> str:
    if output.is_dir():
        return "it is a folder"
    return f"{output.parent} " + ("cannot be written to" if output.parent.is_dir() else "is no folder")


@contextmanager
def plain_problems() -> Iterator[None]:
    """Problems of settings, checkpoints and folders end the command with their sentences and status 2."""
    from sdxl_gateway.core.errors import StartProblem

    try:
        yield
    except ConfigProblem as problem:
        stop(*problem.problems, status=2)
    except StartProblem as problem:
        stop(str(problem), status=2)


def stop(*sentences: str, status: int = 1) -> NoReturn:
    """End the command, saying why."""
    for sentence in sentences:
        typer.secho(sentence, fg=typer.colors.RED, err=True)
    raise typer.Exit(status)
