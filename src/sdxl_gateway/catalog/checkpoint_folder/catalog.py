"""Takes the configured checkpoints and the folder of others, gives all that can be named, as they are now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping

from sdxl_gateway.catalog.checkpoint_folder.scan import Problem, Seen, scan_folder
from sdxl_gateway.catalog.checkpoints import CheckpointEntry, fitted
from sdxl_gateway.catalog.ip_adapters import IpAdapterFile
from sdxl_gateway.catalog.lora_folder.names import shown_name
from sdxl_gateway.catalog.lora_folder.watch import changes
from sdxl_gateway.config import CheckpointFolder

CONFIGURED = "A checkpoint of that name stands in the settings; rename this one."
TWICE = "Another checkpoint has the same name; rename one of them."


class CheckpointCatalog(Mapping[str, CheckpointEntry]):
    """Checkpoints by name: those configured, whose names stay, then those of the folder, by name.

    A server's one IP-Adapter, which those configured have, goes with all that it fits.
    A mapping that changes between two looks, whole each time; names are looked up and never joined to a path.
    """

    def __init__(self, configured: Mapping[str, CheckpointEntry], settings: CheckpointFolder) -> None:
        self._configured = dict(configured)
        self._ip_adapter = next((entry.ip_adapter for entry in configured.values() if entry.ip_adapter), None)
        self._root = settings.directory
        self._seen: Mapping[str, Seen] = {}
        self._entries: Mapping[str, CheckpointEntry] = self._configured
        self._problems: tuple[Problem, ...] = ()

    def __getitem__(self, name: str) -> CheckpointEntry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything in the folder that is no model, and why; side-cars with unusable keys too."""
        return self._problems

    def is_configured(self, name: str) -> bool:
        """It stands in the settings, and not in the folder alone."""
        return name in self._configured

    def is_here(self, entry: CheckpointEntry) -> bool:
        """All of its files are on this server's disk."""
        return entry.name in self._entries

    def scan(self) -> None:
        """Looks at the folder; what did not change is not read again."""
        self._publish(self._look())

    async def refresh(self) -> bool:
        """As `scan`, off the event loop; whether there are other checkpoints now."""
        before = self._entries
        self._publish(await asyncio.to_thread(self._look))
        return self._entries != before

    async def watch(self, on_change: Callable[[], Awaitable[None]]) -> None:
        """Refreshes whenever something in the folder changes, and says when checkpoints did; runs until cancelled."""
        async for _ in changes(self._root, lambda: bool(self._problems), "checkpoint folder"):
            if await self.refresh():
                await on_change()

    def guide_by(self, adapter: IpAdapterFile) -> None:
        """All that this one fits are guided by it from now on, and no others by any; from any thread."""
        self._ip_adapter = adapter
        self._configured = {name: fitted(entry, adapter) for name, entry in self._configured.items()}
        self._publish(self._seen)

    def take(self, entry: CheckpointEntry) -> None:
        """Another one lies where the settings say that the one of its name does; from any thread."""
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
