"""Commands about the bucket that servers share."""

from __future__ import annotations

import json

import typer

from sdxl_gateway.cli.options import ConfigOption

s3 = typer.Typer(help="See to the bucket that servers share.", no_args_is_help=True)


@s3.callback()
def about() -> None:
    """Commands of their own, however few."""


@s3.command("lifecycle")
def lifecycle(config: ConfigOption = None) -> None:
    """Print the rules by which the store deletes what no server is left to delete, as AWS's tools take them."""
    from sdxl_gateway.cli.asking import plain_problems, settings_for
    from sdxl_gateway.s3.lifecycle import lifecycle as rules

    with plain_problems():
        settings = settings_for(config, None, None)
    typer.echo(json.dumps(rules(settings), indent=2))
