"""Caches the results of checking LoRAs against checkpoints, until the files change."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.lora_folder.copies import keep_copy, store_path
from sdxl_gateway.catalog.lora_folder.scan import LoraEntry, Signature, check_inside, read_source_header
from sdxl_gateway.catalog.lora_format.alphas import count_zeros
from sdxl_gateway.catalog.lora_format.plan import plan_lora
from sdxl_gateway.catalog.lora_format.report import LoraReport, make_report
from sdxl_gateway.catalog.safetensors_header import read_header
from sdxl_gateway.config import FileCaps
from sdxl_gateway.core.errors import AdapterRefused

MAX_REMEMBERED = 4096
LATELY_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class CheckedLora:
    """A LoRA that fits the checkpoint, and whose copy is in the store under `digest`."""

    digest: str
    entry: LoraEntry
    report: LoraReport


def checked_file(
    entry: LoraEntry, root: Path, checkpoint: CheckpointEntry, data_directory: Path, caps: FileCaps
) -> CheckedLora:
    """Check the file below `root` against the checkpoint and copy it into the store. Raises AdapterRefused."""
    check_inside(root, entry.path)
    header = read_source_header(entry.path, caps)
    plan = plan_lora(header, checkpoint.shapes)
    digest = keep_copy(entry.path.resolve(), data_directory, caps)
    copied = read_header(store_path(data_directory, digest), caps)
    if copied.tensors != header.tensors:
        raise AdapterRefused("The file changed while it was being read; try again.")
    zeros = count_zeros(store_path(data_directory, digest), copied, plan.alpha_keys)
    words = entry.defaults.trigger_words
    return CheckedLora(digest, entry, make_report(plan, copied, trigger_words=words, zero_alphas=zeros))


Key = tuple[str, Signature, str]
"""A LoRA's name and signature, and the digest of the checkpoint it was checked against."""


class Checks:
    """The latest results, refusals too; a check that several ask for at a time is made once."""

    def __init__(self, data_directory: Path) -> None:
        self._data_directory = data_directory
        self._checks: OrderedDict[Key, asyncio.Future[CheckedLora]] = OrderedDict()
        self._given: dict[str, float] = {}

    async def of(
        self,
        entry: LoraEntry,
        checkpoint: CheckpointEntry,
        check: Callable[[LoraEntry, CheckpointEntry], CheckedLora],
    ) -> CheckedLora:
        """The result for the entry and the checkpoint; if there is none, `check` is called in a thread.

        Raises what `check` raises.
        """
        key = _key(entry, checkpoint)
        known = self._checks.get(key)
        if known is None or self._is_stale(known):
            known = asyncio.create_task(asyncio.to_thread(check, entry, checkpoint))
            self._remember(key, known)
        self._checks.move_to_end(key)
        # A caller who is cancelled must not cancel the check for the others who wait for it.
        checked = await asyncio.shield(known)
        self._given[checked.digest] = time.monotonic()
        return checked

    @property
    def lately_given(self) -> frozenset[str]:
        """The digests returned in the last minutes, which jobs may be about to use."""
        now = time.monotonic()
        self._given = {digest: at for digest, at in self._given.items() if now - at < LATELY_SECONDS}
        return frozenset(self._given)

    def add(self, checked: CheckedLora, checkpoint: CheckpointEntry) -> None:
        """Add the result of a check that was made elsewhere."""
        known: asyncio.Future[CheckedLora] = asyncio.get_running_loop().create_future()
        known.set_result(checked)
        self._remember(_key(checked.entry, checkpoint), known)

    def _remember(self, key: Key, check: asyncio.Future[CheckedLora]) -> None:
        check.add_done_callback(_look_at_error)
        self._checks[key] = check
        while len(self._checks) > MAX_REMEMBERED:
            self._checks.popitem(last=False)

    def _is_stale(self, check: asyncio.Future[CheckedLora]) -> bool:
        """A finished check is valid while its copy is in the store; a refusal is valid until the file changes."""
        if not check.done():
            return False
        if check.cancelled():
            return True
        error = check.exception()
        if error is not None:
            return not isinstance(error, AdapterRefused)
        return not store_path(self._data_directory, check.result().digest).exists()


def _key(entry: LoraEntry, checkpoint: CheckpointEntry) -> Key:
    return entry.name, entry.signature, checkpoint.digest


def _look_at_error(check: asyncio.Future[CheckedLora]) -> None:
    """Retrieve the exception, so that asyncio does not report it as lost if nobody waits any more."""
    if not check.cancelled():
        check.exception()
