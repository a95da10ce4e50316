"""Commands about the bucket that servers share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sdxl_gateway.cli.options import ConfigOption

s3 = typer.Typer(help="Set up the bucket that servers share.", no_args_is_help=True)
checkpoints = typer.Typer(help="Put checkpoints into the bucket, list them, or remove one.", no_args_is_help=True)
s3.add_typer(checkpoints, name="checkpoints")


@s3.command("lifecycle")
def lifecycle(config: ConfigOption = None) -> None:
    """Print lifecycle rules, in AWS's format, by which the store deletes what no server is left to delete."""
    from sdxl_gateway.cli.asking import plain_problems, settings_for
    from sdxl_gateway.s3.lifecycle import lifecycle as rules

    with plain_problems():
        settings = settings_for(config, None, None)
    typer.echo(json.dumps(rules(settings), indent=2))


@checkpoints.command("push")
def push(
    path: Annotated[Path, typer.Argument(metavar="PATH", exists=True, help="A .safetensors file, or a folder.")],
    name: Annotated[str | None, typer.Option(help="The model's name; else the file's or folder's.")] = None,
    config: ConfigOption = None,
) -> None:
    """Upload a checkpoint to the bucket, with the NAME.toml beside it; all servers serve it within seconds."""
    from sdxl_gateway.cli.shared_checkpoints import push

    push(config, path, name)


@checkpoints.command("list")
def show_list(config: ConfigOption = None) -> None:
    """List the checkpoints in the bucket."""
    from sdxl_gateway.cli.shared_checkpoints import show_list

    show_list(config)


@checkpoints.command("remove")
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, as listed.")], config: ConfigOption = None
) -> None:
    """Remove a checkpoint from the bucket; all servers stop serving it within seconds."""
    from sdxl_gateway.cli.shared_checkpoints import remove

    remove(config, name)
