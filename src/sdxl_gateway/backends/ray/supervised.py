"""Takes what an engine is told, gives the one that a replica owns: a supervised process of its node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from sdxl_gateway.backends.process.backend import ENGINE_COMMAND, LOAD_SECONDS
from sdxl_gateway.backends.process.supervisor import Supervisor
from sdxl_gateway.config import EngineProcess
from sdxl_gateway.ipc.messages import Command, Report


class Owned(Protocol):
    """An engine that is started again as often as it ends."""

    async def start(self) -> None:
        """Returns at once; Ready is reported when it is loaded."""

    async def stop(self, grace_seconds: float) -> None:
        """Nothing of it is left when this returns."""

    def send(self, command: Command) -> None:
        """Dropped while there is none."""


Supervise = Callable[[EngineProcess, Callable[[Report], None], Callable[[int], None]], Owned]
"""From its settings, where reports go, and who hears at each of its ends how many starts failed in a row."""


def process(command: Sequence[str] = ENGINE_COMMAND) -> Supervise:
    """An engine process; `command` gets `--fd N` appended."""
    return partial(_supervised, command)


def _supervised(
    command: Sequence[str], config: EngineProcess, on_report: Callable[[Report], None], on_lost: Callable[[int], None]
) -> Supervisor:
    return Supervisor(
        command,
        config.model_dump(mode="json"),
        on_report=on_report,
        on_lost=on_lost,
        stall_seconds=config.engine.stall_seconds,
        load_seconds=LOAD_SECONDS,
        backoff_seconds=config.engine.restart_backoff_seconds,
        backoff_max_seconds=config.engine.restart_backoff_max_seconds,
    )
