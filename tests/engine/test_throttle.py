"""The host runs one step ahead of the device, never two."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sdxl_gateway.engine.throttle import Throttle, throttle_of


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
    throttle = Throttle(lambda: Mark(next(names), said))
    for _ in range(3):
        throttle.step_issued()
    assert said == ["issued 0", "issued 1", "done 0", "issued 2", "done 1"]


def test_a_cpu_is_not_waited_for() -> None:
    throttle = throttle_of(torch.device("cpu"))
    throttle.step_issued()
    throttle.step_issued()
    assert throttle._before is None
