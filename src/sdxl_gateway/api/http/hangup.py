"""Handles SIGHUP, which means to read the settings again, or that the server's terminal was closed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable


def on_hangup(reload: Callable[[], None]) -> None:
    """Call `reload` at each SIGHUP from now on, until the event loop is closed.

    A terminal that is closed sends the same signal; a server that was started in it then ends, as by SIGTERM.
    """
    in_terminal = _has_terminal()

    def hung_up() -> None:
        if in_terminal and not _has_terminal():
            signal.raise_signal(signal.SIGTERM)
        else:
            reload()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up)


def _has_terminal() -> bool:
    """Whether the descriptor is a terminal that still exists."""
    return sys.__stdin__ is not None and os.isatty(sys.__stdin__.fileno())
