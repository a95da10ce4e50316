"""Takes the wish to read the settings again, puts them in force whole, or leaves all as it is and says why."""

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
    """`read` gives the settings as they are written now; raises ConfigProblem.

    `prepare` builds what works by them and gives what puts it in force, which cannot fail; raises StartProblem. Both
    are called in a thread, and what `prepare` gave in the event loop. `tell` hears what came of it.
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
        """Have the settings read again; asked for more than once meanwhile, they are read once more."""
        self._asked.set()

    async def following(self) -> None:
        """Read them each time somebody asks, for ever; cancel to stop."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            self._tell(SettingsRead(await self._reload(), time.time()))

    async def _reload(self) -> bool:
        """Whether what was read is in force."""
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
