"""The commands about rollouts and feedback; each imports what it needs only when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from sdxl_gateway.cli.options import ConfigOption

rollout = typer.Typer(help="Show, promote and roll back the arms of rollouts.", no_args_is_help=True)
feedback = typer.Typer(help="Look at callers' feedback on pictures.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The rollout, as in config.toml.")]


@rollout.command("list")
def rollout_list(config: ConfigOption = None) -> None:
    """List the rollouts: each arm's share, in force and in config.toml, and who changed it last."""
    from sdxl_gateway.cli.rollouts import show_list

    show_list(config)


@rollout.command("promote")
def rollout_promote(
    name: NameArgument,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The arm, by its model name.")],
    share: Annotated[
        float, typer.Option(min=0.0, max=100.0, help="Percent of callers; the other arms share the rest.")
    ] = 100.0,
    config: ConfigOption = None,
) -> None:
    """Give an arm a share of the callers, by default all of them; a running server follows within seconds."""
    from sdxl_gateway.cli.rollouts import promote

    promote(config, name, target, share)


@rollout.command("back")
def rollout_back(name: NameArgument, config: ConfigOption = None) -> None:
    """Undo the last promotion; repeatedly, until the shares are those of config.toml."""
    from sdxl_gateway.cli.rollouts import back

    back(config, name)


@rollout.command("history")
def rollout_history(name: NameArgument, config: ConfigOption = None) -> None:
    """List the changes of a rollout, by whom and when."""
    from sdxl_gateway.cli.rollouts import show_history

    show_history(config, name)


@feedback.command("report")
def feedback_report(
    rollout: Annotated[str | None, typer.Option(help="Only this rollout.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="The number of days, today included.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what GET /v1/admin/feedback answers.")] = False,
    config: ConfigOption = None,
) -> None:
    """Show each arm's results: requests, refusals, pictures, seconds, and the mean score with its interval."""
    from sdxl_gateway.cli.feedback import show_report

    show_report(config, rollout, days, as_json)
