"""The host runs one step ahead of the device, never two."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sdxl_gateway.engine.throttle import Pace, pace_of


@dataclass
class Mark:
    name: int
    said: list[str]

    def record(self) -> None:
        self.said.append(f"issued {self.name}")

    def synchronize(self) -> None:
        self.said.append(f"done {self.name}")


def test_each_step_waits_for_the_one_before() -> None:
    said: list[str] = []
    names = iter(range(3))
    pace = Pace(lambda: Mark(next(names), said))
    for _ in range(3):
        pace.step_issued()
    assert said == ["issued 0", "issued 1", "done 0", "issued 2", "done 1"]


def test_a_cpu_is_not_waited_for() -> None:
    pace = pace_of(torch.device("cpu"))
    pace.step_issued()
    pace.step_issued()
    assert pace._before is None
