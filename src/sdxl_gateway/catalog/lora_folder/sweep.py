"""Removes copies from the store while the server runs: those that are too old or too many, and not in use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from sdxl_gateway.catalog.lora_folder.copies import remove_abandoned, surplus
from sdxl_gateway.config import Loras
from sdxl_gateway.core.files import INCOMING_PREFIX

log = logging.getLogger(__name__)

FRESH_SECONDS = 600.0
"""A copy newer than this may be about to be used by a job; it stays, even above the limit."""


class CopySweeper:
    """`in_use` returns the digests that running and waiting jobs need, and those about to become jobs.

    It is called on the event loop, where jobs are accepted, right when copies are renamed: no job can come in between.
    """

    def __init__(self, data_directory: Path, limits: Loras, in_use: Callable[[], Collection[str]]) -> None:
        self._data_directory = data_directory
        self._limits = limits
        self._in_use = in_use

    async def sweeping(self, every_seconds: float = 60.0) -> None:
        """Sweep regularly, until cancelled."""
        while True:
            await self.sweep()
            await asyncio.sleep(every_seconds)

    async def sweep(self) -> list[str]:
        """Remove what is too old, then the oldest until the rest fits; the removed digests."""
        found = await asyncio.to_thread(self._surplus, frozenset(self._in_use()))
        aside = self._set_aside(found)
        await asyncio.to_thread(_remove, aside.values())
        if aside:
            log.info("%d copies of LoRAs were removed from the store", len(aside))
        await asyncio.to_thread(remove_abandoned, self._data_directory)
        return [*aside]

    def _surplus(self, keep: Collection[str]) -> list[Path]:
        return surplus(
            self._data_directory,
            keep,
            max_age_seconds=self._limits.store_seconds,
            max_total_bytes=self._limits.store_max_bytes,
            fresh_seconds=FRESH_SECONDS,
        )

    def _set_aside(self, paths: Iterable[Path]) -> dict[str, Path]:
        """Rename the files, which is fast, unlike removing them; from here on the store does not have these copies."""
        used = self._in_use()
        aside = {path.stem: path.with_name(f"{INCOMING_PREFIX}{path.stem}") for path in paths if path.stem not in used}
        for path in paths:
            if path.stem in aside:
                path.replace(aside[path.stem])
        return aside


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
