"""Judges without a net: scores are set by the test, and some never end, fail, or return nonsense."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image

from sdxl_gateway.config import Moderation, Safety, Settings
from sdxl_gateway.core.safety import JudgeEnded
from sdxl_gateway.egress.egress import Egress
from sdxl_gateway.safety.judges import Judges
from sdxl_gateway.safety.open import open_judges
from sdxl_gateway.safety.picture_judge import PictureJudge, Run

Scored = Callable[[Image.Image], float]


@dataclass
class FakeRun:
    """One run of a FakeNet."""

    net: FakeNet

    def score(self, image: Image.Image) -> float:
        self.net.seen.append(image)
        self.net.shown.set()
        return self.net.scored(image)

    def stop(self) -> None:
        self.net.stopped.set()


@dataclass
class FakeNet:
    """A PictureNet; `seen` are the images it was given, `stopped` is set when a run is stopped."""

    scored: Scored = lambda image: 0.0
    seen: list[Image.Image] = field(default_factory=list)
    shown: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> Run:
        return FakeRun(self)


def scores(*values: float) -> Scored:
    """One score after the other; the last one repeats."""
    left = list(values)
    return lambda image: left.pop(0) if len(left) > 1 else left[0]


def endless() -> FakeNet:
    """Runs until it is stopped, and then raises as a net of onnxruntime does."""
    net = FakeNet()

    def wait(image: Image.Image) -> float:
        net.stopped.wait(60)
        raise RuntimeError("terminated")

    net.scored = wait
    return net


def broken(image: Image.Image) -> float:
    raise MemoryError("no room for the net")


def judges(
    section: Safety,
    net: FakeNet | None = None,
    tell: Callable[[JudgeEnded], None] = lambda ended: None,
    moderation: Moderation | None = None,
) -> Judges:
    """Judges for a section of the settings, with this net in place of the one it names."""
    pictures = None if net is None else PictureJudge(net, at_once=section.at_once, seconds=section.seconds)
    return open_judges(Settings(safety=section, moderation=moderation or Moderation()), Egress(), pictures, tell)
