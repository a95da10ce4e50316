"""The command line; each command imports what it needs only when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sdxl_gateway import __version__
from sdxl_gateway.cli.bucket import s3
from sdxl_gateway.cli.key_commands import keys
from sdxl_gateway.cli.options import ConfigOption
from sdxl_gateway.cli.rollout_commands import feedback, rollout

app = typer.Typer(
    name="sdxl-gateway",
    help="The OpenAI images API on your own GPU, where a LoRA blend is a model name.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
loras = typer.Typer(help="Look at LoRA files, or write them in another dialect.", no_args_is_help=True)
app.add_typer(loras, name="loras")
checkpoints = typer.Typer(help="Look at checkpoints: diffusers folders and single files.", no_args_is_help=True)
app.add_typer(checkpoints, name="checkpoints")
app.add_typer(keys, name="keys")
app.add_typer(rollout, name="rollout")
app.add_typer(feedback, name="feedback")
audit = typer.Typer(help="Verify the log of who did what, or export it.", no_args_is_help=True)
app.add_typer(audit, name="audit")
app.add_typer(s3, name="s3")

LorasOption = Annotated[Path | None, typer.Option("--loras", metavar="DIR", help="The folder of LoRA files.")]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="NAME|PATH|HUB-ID", help="A model name, a diffusers folder or single file, or a Hub id."
    ),
]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A .safetensors file.")]


def main() -> None:
    """The console script."""
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sdxl-gateway {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before any command."""


@app.command()
def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    loras: LorasOption = None,
    model: ModelOption = None,
    cluster: Annotated[
        Literal["ray"] | None, typer.Option(help="Have engines run by Ray Serve instead of on this machine.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT|auto", help="The cluster to join; without it, one of its own.")
    ] = None,
) -> None:
    """Serve the API until interrupted."""
    from sdxl_gateway.cli.serving import run

    said: dict[str, dict[str, object]] = {
        "server": {"host": host, "port": port},
        "cluster": {"kind": cluster, "address": address},
    }
    run(config, said, loras, model)


@app.command()
def check(
    config: ConfigOption = None,
    loras: LorasOption = None,
    model: ModelOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    vram: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Plan for a device with this much memory, such as 8GiB, instead of the one here."
        ),
    ] = None,
) -> None:
    """Show what `serve` would serve, how memory would be used, and what is wrong; exit 1 if anything is."""
    from sdxl_gateway.cli.checking import run

    run(config, loras, model, as_json, vram)


@app.command("config")
def print_manual() -> None:
    """Print all settings with their defaults and reasons: a config.toml to start from."""
    from sdxl_gateway.cli.manual import run

    run()


@app.command()
def pull(
    hub_id: Annotated[str, typer.Argument(metavar="HUB-ID", help="Such as org/name, or org/name:file.safetensors.")],
    half: Annotated[
        bool | None,
        typer.Option(
            "--half/--full", help="Fetch float16 weights if the Hub has them; by default what the engine paints in."
        ),
    ] = None,
) -> None:
    """Download a diffusers folder or one file from the Hugging Face Hub: weights as safetensors, and their configs."""
    from sdxl_gateway.cli.pulling import run

    run(hub_id, half)


@app.command(context_settings={"ignore_unknown_options": True})
def generate(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PROMPT [--FIELD VALUE]...",
            help="What to paint, and any field of the API as a flag: --steps 30, --upscale 2, --control-image a.png.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write: .png, .webp or .jpg.")] = Path(
        "picture.png"
    ),
    config: ConfigOption = None,
    loras: LorasOption = None,
    model: ModelOption = None,
    fields: Annotated[bool, typer.Option("--fields", help="List the fields, paint nothing.")] = False,
) -> None:
    """Paint one picture without a server."""
    from sdxl_gateway.cli.generating import run, show_fields

    if fields:
        show_fields(config)
    else:
        run(words or (), output, config, loras, model)


@loras.command("list")
def loras_list(config: ConfigOption = None, loras: LorasOption = None) -> None:
    """List the LoRA files, with information from their headers."""
    from sdxl_gateway.cli.lora_files import show_list

    show_list(config, loras)


@loras.command("inspect")
def loras_inspect(file: FileArgument, config: ConfigOption = None, model: ModelOption = None) -> None:
    """Show how a LoRA file would be read and what it would change."""
    from sdxl_gateway.cli.lora_files import show_one

    show_one(file, config, model)


@loras.command("convert")
def loras_convert(
    file: FileArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    config: ConfigOption = None,
    model: ModelOption = None,
) -> None:
    """Convert a LoRA file to diffusers' own names."""
    from sdxl_gateway.cli.lora_files import convert

    convert(file, output, config, model)


@checkpoints.command("list")
def checkpoints_list(config: ConfigOption = None, model: ModelOption = None) -> None:
    """List the configured checkpoints, with information from their files."""
    from sdxl_gateway.cli.checkpoint_files import show_list

    show_list(config, model)


@checkpoints.command("inspect")
def checkpoints_inspect(file: FileArgument) -> None:
    """Show what a single file contains, and whether it can be served."""
    from sdxl_gateway.cli.checkpoint_files import show_one

    show_one(file)


@audit.command("verify")
def audit_verify(
    known: Annotated[
        str | None,
        typer.Option("--hash", help="The hash of an earlier line, noted elsewhere, that must be in the log."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Verify that every line is as it was written; exit 1 naming the first that is not."""
    from sdxl_gateway.cli.audit import check

    check(config, known)


@audit.command("export")
def audit_export(
    tenant: Annotated[str | None, typer.Option(help="Only what was done to or by this tenant.")] = None,
    since: Annotated[str | None, typer.Option(metavar="DAY", help="From that day or time on, in UTC.")] = None,
    until: Annotated[str | None, typer.Option(metavar="DAY", help="Before that day or time, in UTC.")] = None,
    form: Annotated[Literal["jsonl", "csv"], typer.Option("--format", help="JSON lines, or CSV.")] = "jsonl",
    config: ConfigOption = None,
) -> None:
    """Print the log's lines."""
    from sdxl_gateway.cli.audit import export, unix_seconds
    from sdxl_gateway.telemetry.audit.export import Wanted

    export(config, Wanted(tenant, unix_seconds(since), unix_seconds(until)), form)
