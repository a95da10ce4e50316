"""Reloads the settings: either all changes are put in force, or none, and the reason is reported."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from sdxl_gateway.config.live import read_again
from sdxl_gateway.config.sections import Settings
from sdxl_gateway.config.sources import ConfigProblem, cautions
from sdxl_gateway.core.errors import StartProblem
from sdxl_gateway.core.events import SettingsRead

log = logging.getLogger(__name__)

PutInForce = Callable[[], None]


class Reloading:
    """`read` returns the settings as they are written now; raises ConfigProblem.

    `prepare` builds what depends on them, and returns a function that puts it in force, which cannot fail; raises
    StartProblem. Both are called in a thread, that function in the event loop. `tell` gets the outcome.
    """

    def __init__(
        self,
        running: Settings,
        read: Callable[[], Settings],
        prepare: Callable[[Settings], PutInForce],
        tell: Callable[[SettingsRead], None],
    ) -> None:
        self._running = running
        self._read = read
        self._prepare = prepare
        self._tell = tell
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Request a reload; several requests during a running one cause a single further one."""
        self._asked.set()

    async def following(self) -> None:
        """Reload on each request, forever; cancel to stop."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            self._tell(SettingsRead(await self._reload(), time.time()))

    async def _reload(self) -> bool:
        """Reload once; whether what was read is in force."""
        try:
            found = read_again(self._running, await asyncio.to_thread(self._read))
            put_in_force = await asyncio.to_thread(self._prepare, found.settings)
        except (ConfigProblem, StartProblem) as problem:
            log.error("the settings cannot be used and stay as they were: %s", str(problem).replace("\n", " "))
            return False
        put_in_force()
        log.info("the settings were read again; changed: %s", ", ".join(found.changed) or "nothing")
        if found.waiting:
            log.warning("needs a restart: %s", ", ".join(found.waiting))
        for caution in cautions(found.settings):
            if caution not in cautions(self._running):
                log.warning("%s", caution)
        self._running = found.settings
        return True
