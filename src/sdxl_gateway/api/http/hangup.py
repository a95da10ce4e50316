"""Takes SIGHUP, tells a plea to read the settings again from the end of the terminal the server was started in."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable


def on_hangup(reload: Callable[[], None]) -> None:
    """From now until the event loop is closed SIGHUP calls `reload`.

    A terminal that goes away sends the same signal; what was started by hand in one still ends with it, by SIGTERM.
    """
    in_terminal = _has_terminal()

    def hung_up() -> None:
        if in_terminal and not _has_terminal():
            signal.raise_signal(signal.SIGTERM)
        else:
            reload()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up)


def _has_terminal() -> bool:
    """A descriptor whose terminal is gone is none any more."""
    return sys.__stdin__ is not None and os.isatty(sys.__stdin__.fileno())
