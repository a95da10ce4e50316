"""Takes calls that come again and again, gives recordings of them: one launch each instead of some two thousand.

Blends are written into the weights in place, so a recording reads whatever blend is on. What it reads besides are
tensors in one piece of memory, into which each call's are copied; what it writes is copied out before anything is
played again, as all recordings share that piece and the memory they work in.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sdxl_gateway.core.errors import DoesNotFit
from sdxl_gateway.engine.errors import out_of_memory
from sdxl_gateway.engine.memory.ledger import VRAM, Ledger
from sdxl_gateway.engine.quiet import quiet
from sdxl_gateway.engine.unet.calls import Call, Form
from sdxl_gateway.engine.unet.wanted import Code

log = logging.getLogger(__name__)

RECORDINGS = "recordings"
"""What the ledger calls the memory they share, with what it had grown to."""
CALLS_BEFORE = 2
"""So many calls as they are come first: kernels are loaded, and work memory is taken, in the first ones."""
MOST = 32
"""Recordings kept of one UNet; of each the device holds some megabytes besides the memory they share."""
MOST_COUNTED = 512

Key = tuple[Form, int]


class Recording(Protocol):
    """`output` is where `replay` leaves what the work gives, each time anew."""

    @property
    def output(self) -> Tensor: ...

    def replay(self) -> None:
        """Issue all of the work again."""


class Recorder(Protocol):
    """Records what a piece of work asks of the device, which is not done by that."""

    def record(self, work: Callable[[], Tensor]) -> Recording:
        """Nobody may wait for the whole device meanwhile. Raises what the work or the device raises."""

    def held_bytes(self) -> int:
        """The device memory that all its recordings share."""


class Tape:
    """What one device's recordings are made on; the memory they share is on the ledger, and never given back.

    It is for calls that find room without anybody's leaving. `works` until the device fails to record one.
    """

    def __init__(self, recorder: Recorder, ledger: Ledger) -> None:
        self._recorder = recorder
        self._ledger = ledger
        self._held_bytes = self._read_bytes = 0
        self._reads = torch.empty(0, dtype=torch.uint8)
        self.works = True

    def record(self, call: Call, work: Callable[[Call], Tensor]) -> tuple[Call, Recording] | None:
        """The recording, and before it the copy of the call that it reads.

        None where it finds no room, or where the device does not record, which is told once.
        """
        free = self._ledger.free_bytes(VRAM)
        if free is not None and call.work_bytes > free + self._held_bytes:
            return None
        try:
            reads = self._read_by(call)
            made = self._recorder.record(lambda: work(reads))
            self._account(self._recorder.held_bytes() + self._read_bytes)
        except DoesNotFit:
            return None
        except Exception as error:
            if not out_of_memory(error):
                self.works = False
                log.warning("this device records no UNet calls; their kernels are launched one by one", exc_info=error)
            return None
        return reads, made

    def _read_by(self, call: Call) -> Call:
        """A copy where all recordings read; those made before there was a larger one keep theirs."""
        if len(self._reads) < call.size_bytes:
            self._account(self._held_bytes + call.size_bytes)
            self._read_bytes += call.size_bytes
            self._reads = torch.empty(call.size_bytes, dtype=torch.uint8, device=call.tensors[0].device)
        reads = call.laid_out_in(self._reads)
        torch._foreach_copy_(list(reads.tensors), list(call.tensors))
        return reads

    def _account(self, held_bytes: int) -> None:
        """Each time the memory grew is an entry of its own."""
        growth = held_bytes - self._held_bytes
        if growth > 0:
            key = (RECORDINGS, held_bytes)
            self._ledger.pin(key)
            self._ledger.hold(VRAM, key, growth)
            self._held_bytes = held_bytes


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """A call of one form and so many rows, made by `code`, or by the UNet as it is, and recorded."""

    code: Code | None
    reads: Call
    recording: Recording

    def __call__(self, call: Call) -> Tensor:
        """What it predicts, (rows, 4, h, w), in memory of the caller's own."""
        torch._foreach_copy_(list(self.reads.tensors), list(call.tensors))
        self.recording.replay()
        return self.recording.output.clone()


class Recordings:
    """Those of one UNet, by form and rows; the ones used least recently go first."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._kept: OrderedDict[Key, Recorded] = OrderedDict()
        self._uses: Counter[Key] = Counter()
        self._refused: set[Key] = set()

    def of(self, call: Call, code: Code | None, work: Callable[[Call], Tensor]) -> Recorded | None:
        """The recording of such a call; made now, if it came before. One of other code is made anew.

        None where there is none yet, or none can be made.
        """
        key = (call.form, call.rows)
        found = self._kept.get(key)
        if self._is_wanted(key, found, code):
            found = self._made(key, call, code, work) or found
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def close(self) -> None:
        """The weights go elsewhere; once the device is done with what was issued."""
        self._kept = OrderedDict()

    def _is_wanted(self, key: Key, found: Recorded | None, code: Code | None) -> bool:
        if not self._tape.works or key in self._refused:
            return False
        if found is not None:
            return found.code is not code
        if len(self._uses) > MOST_COUNTED:
            self._uses.clear()
        self._uses[key] += 1
        return self._uses[key] > CALLS_BEFORE

    def _made(self, key: Key, call: Call, code: Code | None, work: Callable[[Call], Tensor]) -> Recorded | None:
        """None beside work that waits for the whole device: another call will do."""
        with quiet.recording() as undisturbed:
            if not undisturbed:
                return None
            recording = self._tape.record(call, work)
        if recording is None:
            self._refused.add(key)
            return None
        self._kept[key] = Recorded(code, *recording)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return self._kept[key]
