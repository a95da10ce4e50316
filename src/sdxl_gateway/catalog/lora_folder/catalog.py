"""The catalogue of LoRAs: finds, checks, adds and removes those of the LoRA folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.lora_folder.checks import CheckedLora, Checks, checked_file
from sdxl_gateway.catalog.lora_folder.fit import Fit
from sdxl_gateway.catalog.lora_folder.folder_log import FolderLog
from sdxl_gateway.catalog.lora_folder.lookup import LoraLookup, ProblemLookup, no_such
from sdxl_gateway.catalog.lora_folder.names import place_name
from sdxl_gateway.catalog.lora_folder.scan import (
    LoraEntry,
    Problem,
    Seen,
    entry_of,
    read_entry,
    scan_folder,
    signature_of,
    with_sidecar_mark,
)
from sdxl_gateway.catalog.lora_folder.scan_cache import load_index, rules_of, save_index
from sdxl_gateway.catalog.lora_folder.sidecar_edit import change_sidecar
from sdxl_gateway.catalog.lora_folder.upload import name_taken, put_file, received, remove_source, upload_path
from sdxl_gateway.catalog.lora_folder.views import Globs, Views
from sdxl_gateway.catalog.lora_folder.watch import changes
from sdxl_gateway.catalog.lora_format.alphas import count_zeros
from sdxl_gateway.catalog.lora_format.plan import LoraPlan, plan_lora
from sdxl_gateway.catalog.lora_format.report import make_report
from sdxl_gateway.catalog.safetensors_header import Header, read_header
from sdxl_gateway.config import Loras
from sdxl_gateway.core.caller import fits
from sdxl_gateway.core.errors import AdapterRefused, InvalidRequest, ModelNotFound
from sdxl_gateway.core.text import shown


class LoraCatalog:
    """The LoRAs in one folder, by name. Names are looked up in a table and never joined to a path.

    `bundled` is a folder that came with the package: it is never changed, and each LoRA in it is hidden by whatever the
    first folder has under its name. A file that fits none of `checkpoints` is a problem and not a LoRA; the checkpoints
    may change between two scans.
    """

    def __init__(
        self,
        settings: Loras,
        data_directory: Path,
        bundled: Path | None = None,
        checkpoints: Iterable[CheckpointEntry] = (),
    ) -> None:
        self._root = settings.directory
        self._bundled_root = bundled
        self._data_directory = data_directory
        self._limits = settings
        self._checkpoints = checkpoints
        self._judge_by(Fit(checkpoints))
        self._problems: tuple[Problem, ...] = ()
        self._unusable = ProblemLookup(())
        self._table, self._bundled = LoraLookup(()), LoraLookup(())
        self._listed: Sequence[LoraEntry] = ()
        self._views = Views(LoraCatalog.entries)
        self._scanning = asyncio.Lock()
        self._checks = Checks(data_directory)
        self._log = FolderLog("LoRA folder")

    def _judge_by(self, fit: Fit) -> None:
        """Use this Fit from now on; results that came from another one are dropped."""
        self._fit = fit
        self._rules = rules_of(self._limits, fit)
        self._seen: Mapping[str, Seen] | None = None
        self._saved: Mapping[str, Seen] = {}
        self._bundled_seen: Mapping[str, Seen] = {}

    def entries(self) -> list[LoraEntry]:
        """All usable LoRAs, by name."""
        return [*self._listed]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything in the folder that cannot be used, and why; includes side-cars with unknown keys."""
        return self._problems

    def find(self, name: str) -> LoraEntry:
        """The LoRA of that name: its path below the folder, or only the last part of it if that is unique.

        Names are not case-sensitive, unless two files only differ in case. Raises ModelNotFound, or AdapterRefused for
        a file that exists but cannot be used.
        """
        found = self._table.find(name)
        if not found and (problem := self._unusable.whole(name)) is not None:
            raise AdapterRefused(problem.message)
        found = found or self._bundled.find(name) or self._table.find_trained(name)
        if len(found) == 1:
            return found[0]
        if not found and (problem := self._unusable.part(name)) is not None:
            raise AdapterRefused(problem.message)
        raise no_such(name, found, self._listed)

    def explain(self, model: str) -> None:
        """Raises AdapterRefused if the name of a model contains the name of an unusable file."""
        if (problem := self._unusable.within(model)) is not None:
            raise AdapterRefused(f"The LoRA {shown(problem.name)} cannot be used: {problem.message}")

    def only(self, globs: Globs) -> LoraCatalog:
        """The catalogue as it is now, limited to names that match these globs: no others are found, listed or reported
        as problems. It is cached until the next scan.
        """
        return self._views.of(globs, self._only)

    def _only(self, globs: Globs) -> LoraCatalog:
        sees = partial(fits, globs=globs)
        other = copy(self)
        other._views = Views(LoraCatalog.entries)
        other._table, other._bundled = self._table.only(sees), self._bundled.only(sees)
        other._listed = [entry for entry in self._listed if sees(entry.name)]
        other._problems = tuple(problem for problem in self._problems if sees(problem.name))
        other._unusable = ProblemLookup(other._problems)
        return other

    def scan(self) -> None:
        """Read the folder again; files that did not change are not read again, not even after a restart."""
        self._look_for_checkpoints()
        self._publish(*self._scanned())

    async def refresh(self) -> None:
        """As `scan`, off the event loop."""
        async with self._scanning:
            await self._rescan()

    async def _rescan(self) -> None:
        self._look_for_checkpoints()
        self._publish(*await asyncio.to_thread(self._scanned))
        self._log.tell({entry.name: entry.signature for entry in self._listed}, self._problems)

    def _look_for_checkpoints(self) -> None:
        """Get the current checkpoints, by which files are checked."""
        fit = Fit(self._checkpoints)
        if fit.key != self._fit.key:
            self._judge_by(fit)

    async def watch(self) -> None:
        """Refresh at every change in the folder; runs until cancelled."""
        await self.refresh()
        async for _ in changes(self._root, lambda: bool(self.problems)):
            await self.refresh()

    def _scanned(self) -> tuple[Mapping[str, Seen], Mapping[str, Seen]]:
        """The results of scanning the folder, and the bundled one."""
        seen = scan_folder(self._root, self._known(), self._limits, self._fit)
        if seen != self._saved:
            save_index(self._data_directory, self._root, self._rules, seen)
            self._saved = seen
        bundled = self._bundled_root
        return seen, {} if bundled is None else scan_folder(bundled, self._bundled_seen, self._limits, self._fit)

    def _known(self) -> Mapping[str, Seen]:
        """The results of the last scan of the folder, even if that was before a restart."""
        if self._seen is None:
            self._seen = self._saved = load_index(self._data_directory, self._root, self._rules)
        return self._seen

    def _publish(self, seen: Mapping[str, Seen], bundled: Mapping[str, Seen]) -> None:
        entries: dict[str, LoraEntry] = {}
        problems = [problem for found in seen.values() for problem in found.problems]
        for place, found in seen.items():
            if found.entry is not None and entries.setdefault(found.entry.name, found.entry) is not found.entry:
                message = "Another LoRA has the same name; rename one of them."
                problems.append(Problem(found.entry.name, message, place, "duplicate_name"))
        self._seen, self._bundled_seen, self._problems = seen, bundled, tuple(problems)
        self._unusable = ProblemLookup(problems)
        self._table = LoraLookup(entries.values())
        free = (found.entry for found in bundled.values() if found.entry and self._is_free(found.entry))
        self._bundled = LoraLookup(free)
        self._views = Views(LoraCatalog.entries)
        self._listed = sorted([*self._table.entries(), *self._bundled.entries()], key=lambda entry: entry.name)

    def _is_free(self, bundled: LoraEntry) -> bool:
        """Whether nothing in the first folder has the bundled LoRA's name, not even an unusable file."""
        return not self._table.find(bundled.name) and self._unusable.whole(bundled.name) is None

    def _root_of(self, entry: LoraEntry) -> Path:
        """The folder that the LoRA is in."""
        bundled = self._bundled_root
        return bundled if bundled is not None and entry.path.is_relative_to(bundled) else self._root

    def is_own(self, entry: LoraEntry) -> bool:
        """Whether the LoRA is one of the first folder, and did not come with the package."""
        return self._root_of(entry) == self._root

    def is_shared(self, entry: LoraEntry) -> bool:
        """Whether other servers have the LoRA too, which would not notice a change of its side-car."""
        return False

    async def check_in(self, name: str, checkpoint: CheckpointEntry) -> CheckedLora:
        """The LoRA of that name, checked against the checkpoint and copied into the store.

        The result is cached until the file changes. Raises ModelNotFound or AdapterRefused.
        """
        entry = await asyncio.to_thread(self._current, self.find(name))
        return await self._checks.of(entry, checkpoint, self._check)

    @property
    def lately_checked_in(self) -> frozenset[str]:
        """The digests of LoRAs that were checked in lately, which jobs may be about to use."""
        return self._checks.lately_given

    def _current(self, entry: LoraEntry) -> LoraEntry:
        """The entry of the file as it is now, which may have changed since the last scan."""
        try:
            signature = signature_of(entry.path)
        except AdapterRefused as error:
            raise ModelNotFound(f"The LoRA {shown(entry.name)} is not there any more.") from error
        if signature == entry.signature:
            return entry
        return read_entry(entry.path, entry.name, signature, self._limits, self._fit)[0]

    def _check(self, entry: LoraEntry, checkpoint: CheckpointEntry) -> CheckedLora:
        return checked_file(entry, self._root_of(entry), checkpoint, self._data_directory, self._limits)

    async def add(
        self,
        name: str,
        content: bytes | AsyncIterable[bytes],
        *,
        checkpoint: CheckpointEntry | None = None,
        replace: bool = False,
    ) -> LoraEntry:
        """Add a new file to the folder, complete and checked, or not at all.

        Raises InvalidRequest for a name that is invalid or taken, BodyTooLarge, and AdapterRefused.
        """
        target = upload_path(self._root, name)
        taken = place_name(self._place(target))
        if not replace and (self._table.find_exact(taken) or self._bundled.find_exact(taken)):
            raise name_taken()
        async with received(self._data_directory, content, self._limits.max_file_bytes) as copy:
            header, plan = await asyncio.to_thread(self._planned, copy.path, checkpoint)
            async with self._scanning:
                ours = await asyncio.to_thread(self._put, copy.path, target, header, plan, replace=replace)
                await self._rescan()
            entry = await asyncio.to_thread(self._found, target)
            if checkpoint is not None and plan is not None and entry is ours:
                zeros = await asyncio.to_thread(count_zeros, copy.path, header, plan.alpha_keys)
                report = make_report(plan, header, trigger_words=entry.defaults.trigger_words, zero_alphas=zeros)
                checked = CheckedLora(await asyncio.to_thread(copy.keep), entry, report)
                self._checks.add(checked, checkpoint)
        return entry

    def _planned(self, path: Path, checkpoint: CheckpointEntry | None) -> tuple[Header, LoraPlan | None]:
        header = read_header(path, self._limits)
        return header, plan_lora(header, checkpoint.shapes) if checkpoint is not None else None

    def _put(self, copy: Path, target: Path, header: Header, plan: LoraPlan | None, *, replace: bool) -> LoraEntry:
        """Put the file into the folder, and its entry where the next scan will reuse it without reading the file."""
        mark = put_file(self._root, copy, target, replace=replace)
        signature = with_sidecar_mark([mark], target)
        place = self._place(target)
        entry, problems = entry_of(header, target, place_name(place), signature, self._limits, plan)
        self._seen = {**self._known(), place: Seen(signature, entry, problems)}
        return entry

    def _found(self, target: Path) -> LoraEntry:
        """The entry of the file in the folder. Raises AdapterRefused, and removes the file, if it cannot be used."""
        seen = self._known().get(self._place(target))
        if seen is None or seen.entry is None:
            target.unlink(missing_ok=True)
            message = seen.problems[0].message if seen else "The LoRA folder cannot hold a file of that name."
            raise AdapterRefused(message)
        return seen.entry

    def _place(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    async def remove(self, name: str) -> None:
        """Remove the file and its side-car from the folder; jobs that use it keep their copy. Raises as `_own`."""
        await asyncio.to_thread(remove_source, self._own(name).path)
        await self.refresh()

    async def change_sidecar(self, name: str, changes: Mapping[str, Any]) -> LoraEntry:
        """Set these values in the side-car, and remove those that are None. Raises ModelNotFound, InvalidRequest."""
        entry = self._own(name)
        async with self._scanning:
            await asyncio.to_thread(change_sidecar, self._root, entry.path, changes)
            await self._rescan()
        return self.find(entry.name)

    def _own(self, name: str) -> LoraEntry:
        """The first folder's LoRA of that name. Raises ModelNotFound, or InvalidRequest if it came with the package."""
        entry = self.find(name)
        if not self.is_own(entry):
            raise InvalidRequest(f"The LoRA {shown(entry.name)} came with the server and stays as it is.", param="name")
        return entry
