"""Lists LoRA files, reports on one by its header, or converts it to diffusers' names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import typer
from rich.table import Table

from sdxl_gateway.admission.model_names import ModelResolver
from sdxl_gateway.catalog.checkpoint_folder.catalog import CheckpointCatalog
from sdxl_gateway.catalog.checkpoints import CheckpointEntry, open_checkpoint, open_checkpoints
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.lora_folder.names import SUFFIX, has_suffix
from sdxl_gateway.catalog.lora_folder.scan import LoraEntry, entry_of, read_source_header, signature_of
from sdxl_gateway.catalog.lora_format.alphas import count_zeros
from sdxl_gateway.catalog.lora_format.convert import convert_file
from sdxl_gateway.catalog.lora_format.peft_folder import CHUNK_BYTES, folder_bytes, folder_parts
from sdxl_gateway.catalog.lora_format.plan import plan_lora
from sdxl_gateway.catalog.lora_format.report import LoraReport, make_report
from sdxl_gateway.cli.asking import plain_problems, settings_for, stop, stop_if_unwritable, writing
from sdxl_gateway.cli.tables import show
from sdxl_gateway.config import DEMO_MODEL, Loras, Settings
from sdxl_gateway.core.errors import AdapterRefused, CheckpointProblem, Refusal
from sdxl_gateway.core.files import write_whole


def show_list(config: Path | None, loras: Path | None) -> None:
    """Prints a table of the LoRAs in the folder, and on stderr which other files are there."""
    with plain_problems():
        settings = settings_for(config, loras, None)
    catalog = LoraCatalog(settings.loras, settings.data_directory, settings.demo_loras, _openable(settings).values())
    catalog.scan()
    show(_table(catalog.entries()))
    for problem in catalog.problems:
        typer.secho(f"{problem.name}: {problem.message}", fg=typer.colors.YELLOW, err=True)


def _openable(settings: Settings) -> CheckpointCatalog:
    """The checkpoints that can be opened; others are skipped, as the list is useful without them."""
    opened = {}
    for name, section in settings.checkpoints.items():
        with suppress(CheckpointProblem):
            opened[name] = open_checkpoint(name, section, DEMO_MODEL)
    return _with_folder(opened, settings)


def _with_folder(opened: Mapping[str, CheckpointEntry], settings: Settings) -> CheckpointCatalog:
    checkpoints = CheckpointCatalog(opened, settings.checkpoint_folder)
    checkpoints.scan()
    return checkpoints


def _table(entries: Iterable[LoraEntry]) -> Table:
    table = Table("name", "size", "dtype", "made for", "weight", "trigger words")
    for entry in entries:
        told = entry.defaults
        weight = "" if told.weight is None else f"{told.weight:g}"
        size = f"{entry.size_bytes / 2**20:.1f} MiB"
        table.add_row(entry.name, size, entry.dtype, entry.base_family or "?", weight, ", ".join(told.trigger_words))
    return table


def show_one(file: Path, config: Path | None, model: str | None) -> None:
    """Prints how the file would be read for the default model's checkpoint; ends the command if it cannot be used."""
    with plain_problems():
        settings = settings_for(config, None, model)
        checkpoint = _default_checkpoint(settings)
    try:
        report = report_on(file, checkpoint, settings.loras)
    except AdapterRefused as refused:
        stop(f"{file.name}: {refused.message}")
    for words in _report_lines(file, report, checkpoint.name):
        typer.echo(words)


def report_on(file: Path, checkpoint: CheckpointEntry, limits: Loras) -> LoraReport:
    """What the file would change in the checkpoint. Raises AdapterRefused."""
    header = read_source_header(file, limits)
    entry, _ = entry_of(header, file, file.stem, signature_of(file), limits)
    plan = plan_lora(header, checkpoint.shapes)
    # A PEFT folder's alphas are in its config, which allows no 0.
    zeros = 0 if file.is_dir() else count_zeros(file, header, plan.alpha_keys)
    return make_report(plan, header, trigger_words=entry.defaults.trigger_words, zero_alphas=zeros)


def _report_lines(file: Path, report: LoraReport, checkpoint: str) -> Iterable[str]:
    yield f"{file.name} on '{checkpoint}'"
    yield f"dialect      {report.dialect}"
    yield f"layers       {', '.join(f'{count} in {part}' for part, count in report.parts.items())}"
    yield f"algorithm    {', '.join(f'{name} x {count}' for name, count in report.algorithms.items())}"
    yield f"rank         {', '.join(map(str, report.ranks)) or '-'}"
    yield f"tensors      {report.matched_count} used, {report.unmatched_count} not"
    for name in report.unmatched:
        yield f"  not used   {name}"
    for note in report.notes:
        yield f"note         {note}"
    if report.embeddings:
        yield f"embeddings   {', '.join(report.embeddings)}"
    if report.trigger_words:
        yield f"triggers     {', '.join(report.trigger_words)}"
    yield f"stored as    {report.dtype}, {report.size_bytes} bytes"
    yield f"made for     {report.base_family or 'unknown'}"


def convert(file: Path, output: Path, config: Path | None, model: str | None) -> None:
    """Writes the LoRA under diffusers' names, completely or not at all; never overwrites a file."""
    with plain_problems():
        settings = settings_for(config, None, model)
        checkpoint = _default_checkpoint(settings)
    if output.exists():
        stop(f"{output} is there already.")
    if not has_suffix(output.name):
        stop(f"'{output.name}' must end in {SUFFIX}, or it would be no LoRA to any tool.", status=2)
    stop_if_unwritable(output)
    try:
        with writing(output):
            write_whole(output, convert_file(file, checkpoint.shapes, settings.loras))
    except AdapterRefused as refused:
        stop(f"{file.name}: {refused.message}")
    typer.echo(f"Wrote {output}.")


def content_digest(path: Path, limits: Loras) -> str:
    """The sha256 by which the store identifies the file, or PEFT folder."""
    digest = hashlib.sha256()
    if path.is_dir():
        for chunk in folder_bytes(folder_parts(path), limits):
            digest.update(chunk)
        return digest.hexdigest()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _default_checkpoint(settings: Settings) -> CheckpointEntry:
    """The checkpoint a request without a model would get. Raises CheckpointProblem."""
    checkpoints = _with_folder(open_checkpoints(settings.checkpoints, DEMO_MODEL), settings)
    if not checkpoints:
        stop("No checkpoint is configured.", status=2)
    catalog = LoraCatalog(settings.loras, settings.data_directory, settings.demo_loras, checkpoints.values())
    catalog.scan()
    try:
        return ModelResolver(settings, checkpoints, catalog).choose(None).checkpoint
    except Refusal as refusal:
        stop(f"default_model: {refusal.message}", status=2)
