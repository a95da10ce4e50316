"""The host runs one step ahead of the device, never two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sdxl_gateway.engine.throttle import Throttle


@dataclass
class Named:
    name: int
    said: list[str]

    def passed(self) -> bool:
        return False

    def wait(self) -> None:
        self.said.append(f"done {self.name}")

    def seconds_since(self, earlier: Any) -> float:
        return 0.0


def test_each_step_waits_for_the_one_before() -> None:
    said: list[str] = []
    throttle = Throttle()
    for name in range(3):
        said.append(f"issued {name}")
        throttle.step_issued(Named(name, said))
    assert said == ["issued 0", "issued 1", "done 0", "issued 2", "done 1"]
