"""Writes the audit log on a thread of its own; failures of the disk are reported, and never silent."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sdxl_gateway.config import Audit as AuditSection
from sdxl_gateway.config import Settings
from sdxl_gateway.core import events
from sdxl_gateway.core.errors import GatewayError, StorageFull
from sdxl_gateway.core.texts import Texts
from sdxl_gateway.telemetry.audit.chain import Chain, chain_in
from sdxl_gateway.telemetry.audit.line import Record
from sdxl_gateway.telemetry.audit.records import Records, Written

log = logging.getLogger(__name__)

MAX_WAITING_LINES = 20_000
SYNC_SECONDS = 1.0
RETRY_SECONDS = 1.0
CLOSE_SECONDS = 5.0

KeepTexts = Callable[[Sequence[Texts]], None]


@dataclass(frozen=True, slots=True)
class AuditHealth:
    """`failing` while the disk takes no lines; `waiting` lines are in memory, `lost` ones will never be written."""

    failing: bool = False
    waiting: int = 0
    lost: int = 0


class Audit:
    """A Listener. `keep_texts` stores prompts outside the chain, where they can be erased; it may block.

    `section.sync` decides when lines are brought to the disk, and `section.when_full` whether `admit`, which is called
    before each request, refuses requests while the disk takes none.
    """

    def __init__(
        self,
        chain: Chain,
        section: AuditSection,
        keep_texts: KeepTexts | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.chain = chain
        self._section = section
        self._keep_texts = keep_texts
        self._records = Records(prompts=section.prompts and keep_texts is not None, clock=clock)
        self._clock = clock
        self._waiting: deque[Written] = deque()
        self._lost = self._untold = 0
        self._failing = False
        self._dirty_since: float | None = None
        self._changed = threading.Condition()
        self._closed = True
        self._thread: threading.Thread | None = None

    @property
    def health(self) -> AuditHealth:
        """Read from any thread."""
        return AuditHealth(self._failing, len(self._waiting), self._lost)

    def admit(self) -> None:
        """Raises StorageFull if what cannot be recorded must not be done."""
        if self._failing and self._section.when_full == "refuse":
            raise StorageFull("The server cannot write down what is done, and is set to do nothing then.")

    def on_event(self, event: events.Event) -> None:
        """Queue the event's record, if it has one; returns at once."""
        found = self._records.of(event)
        if found is not None and not self._closed:
            self._put(found)

    def open(self) -> None:
        """Begin to record events."""
        self._closed = False
        self._thread = threading.Thread(target=self._write_all, name="audit", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what is queued, if the disk takes it, and end."""
        if (rest := self._records.unknown()) is not None:
            self._put((rest, None))
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def note(self, event: str, target: str = "") -> None:
        """Record an event of the server itself: its start, its end."""
        self._put((Record(self._clock(), event, target=target), None))

    def _put(self, found: Written) -> None:
        with self._changed:
            if len(self._waiting) < MAX_WAITING_LINES:
                self._waiting.append(found)
            else:
                self._lost, self._untold = self._lost + 1, self._untold + 1
            self._changed.notify_all()

    def _write_all(self) -> None:
        while True:
            batch, last = self._next()
            try:
                self._write(batch, last)
            except (OSError, GatewayError) as problem:
                self._give_back(batch, problem)
                if last:
                    return
                time.sleep(RETRY_SECONDS)
            else:
                if last and not batch:
                    return

    def _next(self) -> tuple[list[Written], bool]:
        """What waits, once anything does or lines are to be synced; and whether there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, self._until_sync)
            batch = list(self._waiting)
            self._waiting.clear()
            return batch, self._closed

    @property
    def _until_sync(self) -> float | None:
        return None if self._dirty_since is None else max(self._dirty_since + SYNC_SECONDS - time.monotonic(), 0.0)

    def _write(self, batch: list[Written], last: bool) -> None:
        """`batch` goes into the chain; what others are to erase later goes beside it first, or neither does."""
        texts = [texts for _, texts in batch if texts is not None]
        if texts and self._keep_texts is not None:
            self._keep_texts(texts)
        records = [*self._gap(), *(record for record, _ in batch)]
        always = self._section.sync == "always"
        if records:
            self.chain.append(records, sync=always)
            self._untold = 0
            if self._section.sync == "second" and self._dirty_since is None:
                self._dirty_since = time.monotonic()
        if self._dirty_since is not None and (last or self._until_sync == 0.0):
            self.chain.sync()
            self._dirty_since = None
        self._well()

    def _gap(self) -> list[Record]:
        """Lines that no memory could hold are told of in the chain itself."""
        return [Record(self._clock(), "audit.gap", more={"lost": self._untold})] if self._untold else []

    def _give_back(self, batch: list[Written], problem: Exception) -> None:
        with self._changed:
            self._waiting.extendleft(reversed(batch))
            first, self._failing = not self._failing, True
        if first:
            log.error("the audit log cannot be written, %s: %s", self._consequence, problem)

    @property
    def _consequence(self) -> str:
        return "and requests that act are refused" if self._section.when_full == "refuse" else "and pictures go on"

    def _well(self) -> None:
        if self._failing:
            self._failing = False
            log.warning("the audit log is written again; %d lines were lost in all", self._lost)


def audit_of(settings: Settings, keep_texts: KeepTexts) -> Audit | None:
    """The audit log of a data directory; None if it is off."""
    return Audit(chain_in(settings), settings.audit, keep_texts) if settings.audit.enabled else None
