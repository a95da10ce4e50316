"""Uploads checkpoints to the bucket that servers share; lists and removes those in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from sdxl_gateway.catalog.checkpoint_folder.scan import open_at
from sdxl_gateway.cli.asking import plain_problems, settings_for, stop
from sdxl_gateway.cli.tables import show
from sdxl_gateway.core.errors import CheckpointProblem, GatewayError, Gone, StartProblem
from sdxl_gateway.core.text import shown
from sdxl_gateway.s3.open import open_bucket

if TYPE_CHECKING:
    from sdxl_gateway.s3.checkpoint_registry import CheckpointRegistry

MIB = 2**20


@contextmanager
def _registry(config: Path | None) -> Iterator[CheckpointRegistry]:
    """The registry in the configured bucket; errors of the bucket or of a checkpoint end the command."""
    with plain_problems():
        bucket = open_bucket(settings_for(config, None, None).s3)
        if bucket is None:
            raise StartProblem("s3.bucket: no bucket is configured.")
        from sdxl_gateway.s3.checkpoint_registry import CheckpointRegistry

        try:
            yield CheckpointRegistry(bucket)
        except GatewayError as problem:
            stop(problem.message)


def push(config: Path | None, path: Path, name: str | None) -> None:
    """Publishes the file or folder under the name to all servers; what no server could serve is not uploaded."""
    from sdxl_gateway.s3.manifest import files_of, manifest_of

    with _registry(config) as registry:
        entry = open_at(path)
        entry = entry if name is None else replace(entry, name=name)
        manifest = manifest_of(entry)
        registry.push(manifest, files_of(entry.path, entry.name))
    size = f"{manifest.size_bytes / MIB:.1f} MiB"
    typer.echo(
        f"{shown(entry.name)} is in the bucket: {len(manifest.files)} files, {size}, digest {entry.digest[:12]}."
    )


def show_list(config: Path | None) -> None:
    """Prints a table of the bucket's checkpoints, and on stderr what is wrong with any."""
    table = Table("name", "files", "size", "created")
    with _registry(config) as registry:
        for name, digest in sorted(registry.names().items()):
            try:
                manifest = registry.manifest(digest)
            except (CheckpointProblem, Gone) as problem:
                typer.secho(f"{name}: {problem}", fg=typer.colors.YELLOW, err=True)
                continue
            created = datetime.fromtimestamp(manifest.created, UTC).date().isoformat()
            table.add_row(name, str(len(manifest.files)), f"{manifest.size_bytes / MIB:.1f} MiB", created)
    show(table)


def remove(config: Path | None, name: str) -> None:
    """Removes the name from all servers; its files are deleted from the bucket a day later."""
    with _registry(config) as registry:
        if name not in registry.names():
            stop(f"There is no checkpoint {shown(name)} in the bucket.")
        registry.withdraw(name)
    typer.echo(f"{shown(name)} is no model any more.")
