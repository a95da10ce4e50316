"""Opens the engine of a replica: a supervised process on its node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from sdxl_gateway.backends.process.backend import ENGINE_COMMAND, LOAD_SECONDS
from sdxl_gateway.backends.process.supervisor import Supervisor
from sdxl_gateway.config import EngineProcess
from sdxl_gateway.ipc.messages import Command, Report


class Owned(Protocol):
    """An engine that is restarted whenever it ends."""

    async def start(self) -> None:
        """Start without waiting; Ready is reported when it is loaded."""

    async def stop(self, grace_seconds: float) -> None:
        """Stop; no process is left when this returns."""

    def send(self, command: Command) -> None:
        """Send a command; it is dropped while there is no engine."""


Supervise = Callable[[EngineProcess, Callable[[Report], None], Callable[[int], None]], Owned]
"""Arguments: the settings, a callback for reports, and one for each end, with the number of failed starts in a row."""


def process(command: Sequence[str] = ENGINE_COMMAND) -> Supervise:
    """Supervises an engine process; `command` gets `--fd N` appended."""
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
