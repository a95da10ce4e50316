"""A LoRA folder that several servers share through a bucket: a change at one is at all of them within seconds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.lora_folder.names import place_name
from sdxl_gateway.catalog.lora_folder.scan import LoraEntry, Problem
from sdxl_gateway.catalog.lora_folder.views import Globs
from sdxl_gateway.config import Settings
from sdxl_gateway.core.caller import fits
from sdxl_gateway.core.errors import InvalidRequest, Unavailable
from sdxl_gateway.s3.bucket import Bucket
from sdxl_gateway.s3.lora_mirror import LoraMirror

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0


class SharedLoraCatalog(LoraCatalog):
    """As LoraCatalog; LoRAs are added and removed at all servers, or the request is refused with Unavailable."""

    def __init__(self, bucket: Bucket, settings: Settings, checkpoints: Iterable[CheckpointEntry]) -> None:
        super().__init__(settings.loras, settings.data_directory, settings.demo_loras, checkpoints)
        self._mirror = LoraMirror(bucket, settings.loras, settings.data_directory)
        self._sees: Callable[[str], bool] = lambda _: True

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The folder's problems, and those of shared LoRAs that could not be fetched."""
        found = self._mirror.problems.items()
        return (*super().problems, *(Problem(name, told, f"s3:{name}") for name, told in found if self._sees(name)))

    def _only(self, globs: Globs) -> LoraCatalog:
        other = super()._only(globs)
        if isinstance(other, SharedLoraCatalog):
            other._sees = partial(fits, globs=globs)
        return other

    async def add(
        self,
        name: str,
        content: bytes | AsyncIterable[bytes],
        *,
        checkpoint: CheckpointEntry | None = None,
        replace: bool = False,
    ) -> LoraEntry:
        """As LoraCatalog; the file is removed again if the bucket does not take it."""
        with self._mirror.changing(place_name(name)):
            entry = await super().add(name, content, checkpoint=checkpoint, replace=replace)
            try:
                await asyncio.to_thread(self._share, entry.name, entry.path)
            except Unavailable:
                await super().remove(entry.name)
                self._mirror.look_again()  # to restore what was replaced
                raise
        return entry

    def _share(self, name: str, path: Path) -> None:
        self._mirror.note(name, self._mirror.registry.publish(name, path))

    async def remove(self, name: str) -> None:
        """As LoraCatalog; first from the bucket. A file that was never shared is only removed here."""
        entry = self.find(name)
        with self._mirror.changing(entry.name):
            if self._mirror.is_shared(entry.name):
                await asyncio.to_thread(self._mirror.registry.withdraw, entry.name)
            await super().remove(entry.name)
            await asyncio.to_thread(self._mirror.note, entry.name, None)

    def is_shared(self, entry: LoraEntry) -> bool:
        """As LoraCatalog: whether it came from the bucket, or was added to it."""
        return self._mirror.is_shared(entry.name)

    async def change_sidecar(self, name: str, changes: Mapping[str, Any]) -> LoraEntry:
        """As LoraCatalog; refused for a LoRA that other servers have too, because side-cars are not shared."""
        if self.is_shared(self.find(name)):
            raise InvalidRequest("This LoRA is shared with other servers, which would not hear of it.", param="name")
        return await super().change_sidecar(name, changes)

    async def watch(self) -> None:
        """Watch the folder and the bucket."""
        async with asyncio.TaskGroup() as group:
            group.create_task(super().watch())
            group.create_task(self._following())

    async def _following(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(POLL_SECONDS)

    async def look(self) -> None:
        """Fetch what changed in the bucket, if anything did; if it does not answer, the next call tries again."""
        try:
            if await asyncio.to_thread(self._mirror.follow):
                await self.refresh()
        except Unavailable:
            log.debug("the shared LoRAs are looked at again later")
