"""The commands about keys; each imports what it needs only when it runs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

import typer

from sdxl_gateway.cli.options import ConfigOption
from sdxl_gateway.core.caller import Role
from sdxl_gateway.core.safety import Policy

keys = typer.Typer(help="Make, list, change, rotate and revoke API keys.", no_args_is_help=True)

KeyArgument = Annotated[str, typer.Argument(metavar="KEY-ID", help="The key's id, as `keys list` shows it.")]
PriorityOption = Annotated[
    Literal["high", "normal", "low"] | None, typer.Option(help="The priority class; normal by default.")
]
LimitOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=NUMBER", help="A limit, such as requests_per_minute=60; may be repeated."),
]
SafetyOption = Annotated[
    Policy | None, typer.Option(help="What to do when a judge flags something; by default as in the settings.")
]
ReceiverOption = Annotated[str | None, typer.Option(help="The address to call when its jobs end.")]


class Clearable(StrEnum):
    """What can be removed from a key; the names are the fields of the HTTP API."""

    limits = "limits"
    expires_in = "expiry"
    safety = "safety"
    webhook_url = "webhook-url"


@keys.command("create")
def keys_create(
    tenant: Annotated[
        str, typer.Option(help="The tenant; keys of one tenant share its limits and its share of the device.")
    ],
    name: Annotated[str, typer.Option(help="A name for the key.")] = "",
    role: Annotated[list[Role] | None, typer.Option(help="A role; may be repeated.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model it may use; * stands for anything.")] = None,
    lora: Annotated[list[str] | None, typer.Option(help="A LoRA it may use; * stands for anything.")] = None,
    priority: PriorityOption = None,
    limit: LimitOption = None,
    expires_days: Annotated[float | None, typer.Option(min=0.0, help="Days until it expires.")] = None,
    safety: SafetyOption = None,
    webhook_url: ReceiverOption = None,
    config: ConfigOption = None,
) -> None:
    """Create a key; it is printed only once, and a running server accepts it within seconds."""
    from sdxl_gateway.cli.keys import create

    said = _said(name, model, lora, priority, limit, expires_days, safety, webhook_url)
    create(config, {"tenant": tenant} | ({"roles": role} if role else {}) | said)


@keys.command("list")
def keys_list(config: ConfigOption = None) -> None:
    """List the keys: their tenants, what they permit, and whether they are valid."""
    from sdxl_gateway.cli.keys import show_list

    show_list(config)


@keys.command("update")
def keys_update(
    key_id: KeyArgument,
    name: Annotated[str | None, typer.Option(help="A name for the key.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model it may use, in place of those before.")] = None,
    lora: Annotated[list[str] | None, typer.Option(help="A LoRA it may use, in place of those before.")] = None,
    priority: PriorityOption = None,
    limit: LimitOption = None,
    expires_days: Annotated[float | None, typer.Option(min=0.0, help="Days from now until it expires.")] = None,
    safety: SafetyOption = None,
    webhook_url: ReceiverOption = None,
    clear: Annotated[list[Clearable] | None, typer.Option(help="A value to remove; may be repeated.")] = None,
    config: ConfigOption = None,
) -> None:
    """Change what a key permits; what is not named stays, and a running server follows within seconds."""
    from sdxl_gateway.cli.keys import update

    said = _said(name, model, lora, priority, limit, expires_days, safety, webhook_url)
    update(config, key_id, {one.name: None for one in clear or ()} | said)


def _said(
    name: str | None,
    models: list[str] | None,
    loras: list[str] | None,
    priority: str | None,
    limits: list[str] | None,
    expires_days: float | None,
    safety: Policy | None,
    webhook_url: str | None,
) -> dict[str, Any]:
    """The given fields of a key, as in the HTTP API. Ends with a sentence if a limit cannot be parsed."""
    from sdxl_gateway.cli.keys import named_limits
    from sdxl_gateway.core.days import DAY_SECONDS

    said = {
        "name": name,
        "models": models,
        "loras": loras,
        "priority": priority,
        "limits": named_limits(limits) if limits else None,
        "expires_in": None if expires_days is None else expires_days * DAY_SECONDS,
        "safety": safety,
        "webhook_url": webhook_url,
    }
    return {field: value for field, value in said.items() if value is not None}


@keys.command("rotate")
def keys_rotate(
    key_id: KeyArgument,
    grace_hours: Annotated[float, typer.Option(min=0.0, help="How long the old key stays valid.")] = 24.0,
    config: ConfigOption = None,
) -> None:
    """Replace a key by a new one with the same permissions; the old one expires a while later."""
    from sdxl_gateway.cli.keys import rotate

    rotate(config, key_id, grace_hours)


@keys.command("revoke")
def keys_revoke(key_id: KeyArgument, config: ConfigOption = None) -> None:
    """Revoke a key; a running server refuses it within seconds."""
    from sdxl_gateway.cli.keys import revoke

    revoke(config, key_id)


@keys.command("usage")
def keys_usage(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY-ID", help="Only this key.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="The most lines to show.")] = 100,
    config: ConfigOption = None,
) -> None:
    """Show keys' usage by day: requests, images and pixel-steps."""
    from sdxl_gateway.cli.usage import show_usage

    show_usage(config, tenant, key, rows)


@keys.command("webhook-secret")
def keys_webhook_secret(
    tenant: Annotated[str, typer.Argument(help="The tenant whose receivers verify with it.")],
    new: Annotated[bool, typer.Option("--new", help="Make a new one; the old one also signs for a while.")] = False,
    grace_hours: Annotated[float, typer.Option(min=0.0, help="How long the old one also signs.")] = 24.0,
    config: ConfigOption = None,
) -> None:
    """Print the secret that signs a tenant's webhooks."""
    from sdxl_gateway.cli.keys import webhook_secret

    webhook_secret(config, tenant, grace_hours if new else None)
