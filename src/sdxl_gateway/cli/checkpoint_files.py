"""Lists the configured checkpoints, or reports on one file, by the headers of their files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import typer
from rich.table import Table

from sdxl_gateway.catalog.checkpoints import CheckpointEntry, open_checkpoint
from sdxl_gateway.catalog.model_files import file_fingerprint
from sdxl_gateway.catalog.single_file.layout import INPAINT_CHANNELS, check_sdxl
from sdxl_gateway.catalog.single_file.read import V_PREDICTION, SingleFile, read_single_file
from sdxl_gateway.cli.asking import plain_problems, settings_for, stop
from sdxl_gateway.cli.tables import show
from sdxl_gateway.config import DEMO_MODEL
from sdxl_gateway.core.errors import CheckpointProblem

TITLE = "modelspec.title"


def show_list(config: Path | None, model: str | None) -> None:
    """Prints a table of the configured checkpoints, and on stderr why any of them cannot be served."""
    with plain_problems():
        settings = settings_for(config, None, model)
    table = Table("name", "kind", "dtype", "vae", "prediction", "path")
    for name, section in settings.checkpoints.items():
        try:
            table.add_row(*_row(open_checkpoint(name, section, DEMO_MODEL)))
        except CheckpointProblem as problem:
            typer.secho(f"{name}: {problem}", fg=typer.colors.YELLOW, err=True)
    show(table)


def _row(entry: CheckpointEntry) -> tuple[str, ...]:
    if entry.path.is_dir():
        return entry.name, "folder", "", "", "", str(entry.path)
    file = read_single_file(entry.path)
    return entry.name, "file", file.dtype, "yes" if file.has_vae else "no", _prediction(file), str(entry.path)


def show_one(path: Path) -> None:
    """Prints what the file holds, and whether it can be served; ends the command with 1 if it cannot."""
    try:
        file = read_single_file(path)
    except CheckpointProblem as problem:
        stop(str(problem))
    for words in _report_lines(file):
        typer.echo(words)
    try:
        check_sdxl(file, own_config=False)
    except CheckpointProblem as problem:
        stop(f"PROBLEM      {problem}")
    typer.echo("ok" if file.has_vae else "ok with a VAE of its own: set `vae` in its section")


def _report_lines(file: SingleFile) -> Iterator[str]:
    yield file.path.name
    yield f"this is      {file.family}"
    if TITLE in file.header.metadata:
        yield f"title        {file.header.metadata[TITLE]}"
    yield f"stored as    {file.dtype}, {file.path.stat().st_size} bytes, {file.parameters} parameters"
    yield f"vae          {'in the file' if file.has_vae else 'none'}"
    yield f"prediction   {_prediction(file)}"
    yield f"inpainting   {'yes' if file.in_channels == INPAINT_CHANNELS else 'no'}"
    yield f"fingerprint  {file_fingerprint(file.path)}"


def _prediction(file: SingleFile) -> str:
    if file.prediction is None:
        return "not told: as its configs say"
    zero_snr = file.zero_snr and file.prediction == V_PREDICTION
    return f"{file.prediction}, zero terminal SNR" if zero_snr else file.prediction
