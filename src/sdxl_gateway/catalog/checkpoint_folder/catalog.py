"""The catalogue of checkpoints: those that are configured, and those of the checkpoint folder as it is now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sdxl_gateway.catalog.checkpoint_folder.removal import remove_checkpoint
from sdxl_gateway.catalog.checkpoint_folder.scan import Problem, Seen, scan_folder
from sdxl_gateway.catalog.checkpoint_folder.upload import incoming, receive
from sdxl_gateway.catalog.checkpoints import CheckpointEntry, fitted
from sdxl_gateway.catalog.ip_adapters import IpAdapterFile
from sdxl_gateway.catalog.lora_folder.folder_log import FolderLog
from sdxl_gateway.catalog.lora_folder.names import place_name, shown_name
from sdxl_gateway.catalog.lora_folder.sidecar_edit import change_sidecar
from sdxl_gateway.catalog.lora_folder.upload import upload_path, writing
from sdxl_gateway.catalog.lora_folder.watch import changes
from sdxl_gateway.config import CheckpointFolder
from sdxl_gateway.core.errors import InvalidRequest, ModelNotFound, WrongState
from sdxl_gateway.core.files import IncomingFile
from sdxl_gateway.core.text import shown

CONFIGURED = "A checkpoint of that name stands in the settings; rename this one."
TWICE = "Another checkpoint has the same name; rename one of them."
ELSEWHERE = "The checkpoint {} {}, and can only be changed there."


class CheckpointCatalog(Mapping[str, CheckpointEntry]):
    """Checkpoints by name: the configured ones, which never leave, then those of the folder, sorted by name.

    The server's one IP-Adapter, which configured checkpoints bring, is used with every checkpoint that it fits.
    The mapping is replaced as a whole at each change; names are looked up and never joined to a path.
    """

    def __init__(self, configured: Mapping[str, CheckpointEntry], settings: CheckpointFolder) -> None:
        self._configured = dict(configured)
        self._ip_adapter = next((entry.ip_adapter for entry in configured.values() if entry.ip_adapter), None)
        self._root = settings.directory
        self._max_file_bytes = settings.max_file_bytes
        self._seen: Mapping[str, Seen] = {}
        self._entries: Mapping[str, CheckpointEntry] = self._configured
        self._problems: tuple[Problem, ...] = ()
        self._changing = asyncio.Lock()

    def __getitem__(self, name: str) -> CheckpointEntry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything in the folder that cannot be used, and why; includes side-cars with unusable keys."""
        return self._problems

    def is_configured(self, name: str) -> bool:
        """Whether the settings configure a checkpoint of that name."""
        return name in self._configured

    def in_folder(self, entry: CheckpointEntry) -> bool:
        """Whether the checkpoint is one of the folder, where it can be described and removed."""
        return not self.is_configured(entry.name) and Path(entry.section.path).is_relative_to(self._root)

    def is_here(self, entry: CheckpointEntry) -> bool:
        """Whether all of its files are on this server's disk."""
        return entry.name in self._entries

    def scan(self) -> None:
        """Read the folder again, except for what did not change."""
        self._publish(self._look())

    async def refresh(self) -> bool:
        """As `scan`, off the event loop; whether the checkpoints have changed."""
        before = self._entries
        self._publish(await asyncio.to_thread(self._look))
        return self._entries != before

    async def add(self, name: str, content: AsyncIterable[bytes]) -> CheckpointEntry:
        """Add a checkpoint that is a single file to the folder, under that name.

        Raises InvalidRequest, BodyTooLarge or WrongState, and leaves the folder as it was.
        """
        target, name = upload_path(self._root, name), place_name(name)
        self._check_free(name)
        with writing():
            async with incoming(self._root, target) as file:
                await receive(file, target, content, self._max_file_bytes)
                async with self._changing:
                    await self._take_in(name, file, target)
        return self.own(name)

    async def _take_in(self, name: str, file: IncomingFile, target: Path) -> None:
        self._check_free(name)
        try:
            await asyncio.to_thread(partial(file.becomes, target, replace=False))
        except FileExistsError as error:
            raise _taken_name() from error
        await self.refresh()

    def _check_free(self, name: str) -> None:
        if any(name.lower() == one.lower() for one in self):
            raise _taken_name()

    async def change_sidecar(self, name: str, changes: Mapping[str, Any]) -> CheckpointEntry:
        """Set these values in the checkpoint's side-car, and remove those that are None.

        Raises InvalidRequest if the side-car cannot be changed, and as `own`.
        """
        async with self._changing:
            entry = self.own(name)
            await asyncio.to_thread(change_sidecar, self._root, Path(entry.section.path), changes)
            await self.refresh()
        return self.own(name)

    async def remove(self, name: str) -> None:
        """Remove the checkpoint's files and its side-car from the folder. Raises InvalidRequest if links lead outside
        of the folder, and as `own`."""
        async with self._changing:
            entry = self.own(name)
            await asyncio.to_thread(remove_checkpoint, self._root, Path(entry.section.path))
            await self.refresh()

    def own(self, name: str) -> CheckpointEntry:
        """The folder's checkpoint of that name. Raises ModelNotFound, or WrongState if it is from elsewhere."""
        entry = self.get(name)
        if entry is None:
            raise ModelNotFound(f"There is no checkpoint {shown(name)}.", param="name")
        if not self.in_folder(entry):
            where = "stands in the settings" if self.is_configured(name) else "is shared through the bucket"
            raise WrongState(ELSEWHERE.format(shown(name), where), param="name")
        return entry

    async def watch(self, on_change: Callable[[], Awaitable[None]]) -> None:
        """Refresh at every change in the folder, and report when checkpoints have changed; runs until cancelled."""
        log = FolderLog("checkpoint folder")
        self._tell(log)
        async for _ in changes(self._root, lambda: bool(self._problems), "checkpoint folder"):
            if await self.refresh():
                await on_change()
            self._tell(log)

    def _tell(self, log: FolderLog) -> None:
        log.tell({name: entry.digest for name, entry in self._entries.items()}, self._problems)

    def guide_by(self, adapter: IpAdapterFile) -> None:
        """Use this IP-Adapter with every checkpoint that it fits, in place of the previous one; from any thread."""
        self._ip_adapter = adapter
        self._configured = {name: fitted(entry, adapter) for name, entry in self._configured.items()}
        self._publish(self._seen)

    def take(self, entry: CheckpointEntry) -> None:
        """Replace the configured checkpoint of the entry's name; from any thread."""
        self._configured = {**self._configured, entry.name: fitted(entry, self._ip_adapter)}
        self._publish(self._seen)

    def _look(self) -> dict[str, Seen]:
        return scan_folder(self._root, self._seen)

    def _publish(self, seen: Mapping[str, Seen]) -> None:
        found: dict[str, CheckpointEntry] = {}
        problems = [problem for one in seen.values() for problem in one.problems]
        for place, one in seen.items():
            if one.entry is not None and (taken := self._taken(one.entry.name, found)):
                problems.append(Problem(one.entry.name, taken, shown_name(place), "duplicate_name"))
            elif one.entry is not None:
                found[one.entry.name] = fitted(one.entry, self._ip_adapter)
        self._seen, self._problems = seen, tuple(problems)
        self._entries = {**self._configured, **dict(sorted(found.items()))}

    def _taken(self, name: str, found: Mapping[str, CheckpointEntry]) -> str | None:
        if name in self._configured:
            return CONFIGURED
        return TWICE if name in found else None


def _taken_name() -> InvalidRequest:
    return InvalidRequest("A checkpoint of that name exists already; delete it first.", param="name")
