"""Takes calls that recur, gives recordings (CUDA graphs) of them: one launch each instead of some two thousand.

Blends are written into the weights in place, so a recording reads whatever blend is on. Its other inputs are tensors in
one static buffer, into which each call's are copied; its output is copied out before the next replay, as all recordings
share that buffer and their working memory.
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
from sdxl_gateway.engine.unet.target import Code

log = logging.getLogger(__name__)

RECORDINGS = "recordings"
"""The first word of the shared memory's keys in the ledger; the size it had grown to follows."""
CALLS_BEFORE = 2
"""A call is recorded after being made so many times: the first ones load kernels and allocate workspaces."""
MOST = 32
"""Recordings kept of one UNet; each takes some megabytes on the device besides the memory they share."""
MOST_COUNTED = 512
"""Kinds of calls whose number is counted; then counting starts anew."""

Key = tuple[Form, int]


class Recording(Protocol):
    """Recorded work; `replay` overwrites `output` each time."""

    @property
    def output(self) -> Tensor: ...

    def replay(self) -> None:
        """Issue all of the work again."""


class Recorder(Protocol):
    """Captures the device operations of some work, without executing them."""

    def record(self, work: Callable[[], Tensor]) -> Recording:
        """Nothing may synchronise the device meanwhile. Raises errors of the work or the device."""

    def held_bytes(self) -> int:
        """The device memory that all its recordings share."""


class Tape:
    """Makes one device's recordings; the memory they share is accounted in the ledger, and never freed.

    Calls whose recording would require evictions are not recorded. `works` until the device fails to record one.
    """

    def __init__(self, recorder: Recorder, ledger: Ledger) -> None:
        self._recorder = recorder
        self._ledger = ledger
        self._held_bytes = self._input_bytes = 0
        self._input_buffer = torch.empty(0, dtype=torch.uint8)
        self.works = True

    def record(self, call: Call, work: Callable[[Call], Tensor]) -> tuple[Call, Recording] | None:
        """The static call that the recording reads, and the recording.

        None if there is no memory for it, or if the device cannot record, which is logged once.
        """
        free = self._ledger.free_bytes(VRAM)
        if free is not None and call.work_bytes > free + self._held_bytes:
            return None
        try:
            inputs = self._static_copy(call)
            recording = self._recorder.record(lambda: work(inputs))
            self._account(self._recorder.held_bytes() + self._input_bytes)
        except DoesNotFit:
            return None
        except Exception as error:
            if not out_of_memory(error):
                self.works = False
                log.warning("this device cannot record UNet calls; kernels are launched one by one", exc_info=error)
            return None
        return inputs, recording

    def _static_copy(self, call: Call) -> Call:
        """A copy in the shared input buffer, a larger one if needed; earlier recordings keep the smaller one."""
        if len(self._input_buffer) < call.size_bytes:
            self._account(self._held_bytes + call.size_bytes)
            self._input_bytes += call.size_bytes
            self._input_buffer = torch.empty(call.size_bytes, dtype=torch.uint8, device=call.tensors[0].device)
        inputs = call.laid_out_in(self._input_buffer)
        torch._foreach_copy_(list(inputs.tensors), list(call.tensors))
        return inputs

    def _account(self, held_bytes: int) -> None:
        """Each growth of the memory is an entry of its own in the ledger."""
        growth = held_bytes - self._held_bytes
        if growth > 0:
            key = (RECORDINGS, held_bytes)
            self._ledger.pin(key)
            self._ledger.hold(VRAM, key, growth)
            self._held_bytes = held_bytes


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """A recorded call of one form and number of rows, made by `code`, or by the UNet itself."""

    code: Code | None
    inputs: Call
    recording: Recording

    def __call__(self, call: Call) -> Tensor:
        """The prediction, (rows, 4, h, w), in new memory."""
        torch._foreach_copy_(list(self.inputs.tensors), list(call.tensors))
        self.recording.replay()
        return self.recording.output.clone()


class Recordings:
    """The recordings of one UNet, by form and rows; at most MOST, of which the least recently used is dropped."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._kept: OrderedDict[Key, Recorded] = OrderedDict()
        self._uses: Counter[Key] = Counter()
        self._refused: set[Key] = set()

    def of(self, call: Call, code: Code | None, work: Callable[[Call], Tensor]) -> Recorded | None:
        """The recording of such a call; recorded now if it has recurred often enough, or if `code` is new for it.

        None if there is none yet, or it cannot be recorded.
        """
        key = (call.form, call.rows)
        recorded = self._kept.get(key)
        if self._is_due(key, recorded, code):
            recorded = self._record(key, call, code, work) or recorded
        if recorded is not None:
            self._kept.move_to_end(key)
        return recorded

    def close(self) -> None:
        """Drop all, as the weights are being moved; the device must be idle."""
        self._kept = OrderedDict()

    def _is_due(self, key: Key, recorded: Recorded | None, code: Code | None) -> bool:
        if not self._tape.works or key in self._refused:
            return False
        if recorded is not None:
            return recorded.code is not code
        if len(self._uses) > MOST_COUNTED:
            self._uses.clear()
        self._uses[key] += 1
        return self._uses[key] > CALLS_BEFORE

    def _record(self, key: Key, call: Call, code: Code | None, work: Callable[[Call], Tensor]) -> Recorded | None:
        """None while other threads may synchronise the device; a later call is then recorded instead."""
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
