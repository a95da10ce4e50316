"""Shows the results of rollouts' arms, from the data directory's database, whether or not a server uses it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import typer
from rich.table import Column, Table

from sdxl_gateway.admission.rollouts import configured, in_force
from sdxl_gateway.api.replies.feedback import arm_table
from sdxl_gateway.cli.asking import plain_problems, settings_for
from sdxl_gateway.cli.tables import show
from sdxl_gateway.core.days import first_of
from sdxl_gateway.core.intervals import Estimate
from sdxl_gateway.gateway.arm_report import ArmLine, arm_lines
from sdxl_gateway.storage.database import opened
from sdxl_gateway.storage.feedback import figures
from sdxl_gateway.storage.rollouts import RolloutStore


def show_report(config: Path | None, rollout: str | None, days: int | None, as_json: bool) -> None:
    """Prints one line per arm; what a server counted in the last second may be missing."""
    since = 0.0 if days is None else first_of(days, time.time())
    with plain_problems():
        settings = settings_for(config, None, None)
        with opened(settings.data_directory) as database:
            found = database.submit(partial(figures, since=since)).result()
            store = RolloutStore(database)
            store.load_now()
    lines = arm_lines(found, in_force(configured(settings), store.shares), rollout)
    if as_json:
        typer.echo(json.dumps(arm_table(lines)))
        return
    # Scripts get whole lines; a terminal shows what fits.
    show(_table(lines))


def _table(lines: Iterable[ArmLine]) -> Table:
    counts = ("requests", "pictures", "failed")
    titles = ("rollout", "arm", "share", *counts, "refused (95 %)", "median s", "p95 s", "scores", "mean score (95 %)")
    table = Table(*(Column(title, no_wrap=True) for title in titles), box=None)
    for line in lines:
        counted = map(str, (line.requests.total(), line.pictures, line.requests["failed"]))
        share = "-" if line.share is None else f"{line.share:g}"
        seconds = (_seconds(line.median_seconds), _seconds(line.p95_seconds))
        scored = (str(line.scores), _estimate(line.score, 1))
        table.add_row(
            line.arm.rollout, line.arm.target, share, *counted, _estimate(line.refused, 100), *seconds, *scored
        )
    return table


def _seconds(found: float | None) -> str:
    return "-" if found is None else f"{found:.3g}"


def _estimate(found: Estimate | None, times: int) -> str:
    """The estimate with its interval; with a percent sign if it is a share."""
    if found is None:
        return "-"
    sign = " %" if times == 100 else ""
    if found.low is None or found.high is None:
        return f"{times * found.value:.2f}{sign}"
    return f"{times * found.value:.2f} ({times * found.low:.2f}..{times * found.high:.2f}){sign}"
