"""Replaces CUDA's streams on machines without: calls are logged in order, and executed at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from sdxl_gateway.engine import device


class FakeEvent:
    def __init__(self, log: list[str], stream: str) -> None:
        self._log = log
        self.stream = stream

    def synchronize(self) -> None:
        self._log.append(f"host waits for {self.stream}")


class FakeStream:
    def __init__(self, log: list[str], name: str) -> None:
        self._log = log
        self.name = name

    def wait_stream(self, other: FakeStream) -> None:
        self._log.append(f"{self.name} waits for {other.name}")

    def wait_event(self, event: FakeEvent) -> None:
        self._log.append(f"{self.name} waits for {event.stream}")

    def record_event(self) -> FakeEvent:
        self._log.append(f"event on {self.name}")
        return FakeEvent(self._log, self.name)

    def synchronize(self) -> None:
        self._log.append(f"host waits for {self.name}")


def fake_streams(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The log of the streams "steps", which is current, and "copies"; CPU tensors count as on the device."""
    log: list[str] = []
    steps, copies = FakeStream(log, "steps"), FakeStream(log, "copies")

    @contextmanager
    def current(stream: FakeStream) -> Iterator[None]:
        log.append(f"on {stream.name}")
        yield
        log.append(f"off {stream.name}")

    def record(tensor: Tensor, stream: FakeStream) -> None:
        log.append(f"{stream.name} uses {tensor.nbytes} bytes")

    monkeypatch.setattr(device, "copy_stream", lambda _: copies)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _=None: steps)
    monkeypatch.setattr(torch.cuda, "stream", current)
    monkeypatch.setattr(Tensor, "record_stream", record)
    return log
