"""What an engine measures: one kind of Event, which belongs to no job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class StepTaken:
    """One batch of `lanes` canvases advanced one step; `work` is UNet rows times paint megapixels.

    These `seconds` and those below are the device's own, told once it is done: others may have happened meanwhile.
    """

    seconds: float
    lanes: int
    work: float


@dataclass(frozen=True, slots=True)
class BlendSwitched:
    """The weights in place now belong to another blend; `layers` were rewritten."""

    seconds: float
    layers: int


@dataclass(frozen=True, slots=True)
class StageTimed:
    """A stage other than a step took this long: "encode", "references", "prepare" or "decode"."""

    stage: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ModelLoaded:
    """A model was brought onto the device: `source` is where it was found, "host" or "disk"; `kind` as "checkpoint"."""

    kind: str
    source: str
    seconds: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class AdapterLoaded:
    """An adapter was asked for: `source` is the tier it was found in ("vram", "host", "disk"), or "refused"."""

    digest: str
    source: str
    seconds: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class AdapterEvicted:
    """An adapter left a tier ("vram" or "host") to make room."""

    digest: str
    tier: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryHeld:
    """What the ledger holds now: bytes by tier and kind, and the digests warm in each tier.

    `checkpoints` are the versions of those in each tier: what lies under a name may be another one by now.
    `device_by_kind` is what the device's tier holds of each kind, in bytes: of a kind of model ("checkpoint", ...),
    "pristine" copies, "factors" of LoRAs, ...; `device_budget_bytes` is the most it may, None where nothing says so.
    """

    bytes_by_tier: dict[str, int] = field(default_factory=dict)
    warm: dict[str, tuple[str, ...]] = field(default_factory=dict)
    blend: tuple[tuple[str, float], ...] = ()
    device_used_bytes: int = 0
    checkpoints: dict[str, tuple[str, ...]] = field(default_factory=dict)
    device_by_kind: dict[str, int] = field(default_factory=dict)
    device_budget_bytes: int | None = None


HeldReason = Literal["temperature", "memory"]


@dataclass(frozen=True, slots=True)
class Held:
    """The machine is too hot or too full, and no step is taken until it is said with no `reason` that it goes on.

    `memory_ratio` is the share of the GPU's memory that anybody uses; both are 0 where the driver tells nothing.
    """

    reason: HeldReason | None
    celsius: float
    memory_ratio: float


Measurement = StepTaken | BlendSwitched | StageTimed | ModelLoaded | AdapterLoaded | AdapterEvicted | MemoryHeld | Held
