"""What happens to requests, jobs and engines, as one kind of thing: an Event, announced to every listener.

A job's life is `JobAccepted Started? Progressed* Previewed* Painted* (Finished | Failed)`: exactly one last event,
whatever goes wrong. Measurements of an engine (`StepTaken`, `BlendSwitched`, ...) belong to no job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import GatewayError
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.core.safety import JudgeEnded, Moderated


@dataclass(frozen=True, slots=True)
class JobAccepted:
    """A request was resolved and its job is about to enter the queue; one last event follows, whatever happens.

    `loras` are the names of the catalogue's LoRAs in it, `arrived` is unix seconds, `end_user` is whom the caller
    said it paints for, and `key_id` is the key it was asked for with.
    """

    job_id: str
    tenant: str
    recipe: Recipe
    loras: tuple[str, ...]
    arrived: float
    end_user: str | None = None
    key_id: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """An engine took the job's first canvas up; `waited_seconds` since arrival."""

    job_id: str
    waited_seconds: float


@dataclass(frozen=True, slots=True)
class Progressed:
    """Image `index` has taken `step` of `steps`."""

    job_id: str
    index: int
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Previewed:
    """A look at image `index` part-way: the predicted clean picture, at paint size or smaller."""

    job_id: str
    index: int
    partial_index: int
    picture: Picture


@dataclass(frozen=True, slots=True)
class Painted:
    """Image `index` is done, at paint size."""

    job_id: str
    index: int
    seed: int
    picture: Picture


@dataclass(frozen=True, slots=True)
class Finished:
    """The job's last event when all images were painted."""

    job_id: str
    paint_seconds: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The job's last event when it ended in an error, cancellation and refusal included."""

    job_id: str
    error: GatewayError


JobEvent = Started | Progressed | Previewed | Painted | Finished | Failed


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

    `checkpoints` are those in each tier, as the engine calls them: by name, and one of the folder by its version.
    """

    bytes_by_tier: dict[str, int] = field(default_factory=dict)
    warm: dict[str, tuple[str, ...]] = field(default_factory=dict)
    blend: tuple[tuple[str, float], ...] = ()
    device_used_bytes: int = 0
    checkpoints: dict[str, tuple[str, ...]] = field(default_factory=dict)


Measurement = StepTaken | BlendSwitched | StageTimed | ModelLoaded | AdapterLoaded | AdapterEvicted | MemoryHeld


@dataclass(frozen=True, slots=True)
class Measured:
    """One engine of a backend measured this; its id stays the same when its process is started again."""

    engine_id: str
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class EngineOpened:
    """The engine of that id can paint: on this device, in this number format; `card` is its GPU's name, if any."""

    engine_id: str
    device: str
    dtype: str
    card: str

    def __str__(self) -> str:
        """As "cuda:0 (NVIDIA H200) in float16"."""
        return f"{self.device}{f' ({self.card})' if self.card else ''} in {self.dtype}"


@dataclass(frozen=True, slots=True)
class EngineLost:
    """The engine of that id holds nothing any more; it says what it holds when it is there again."""

    engine_id: str


EngineEvent = Measured | EngineOpened | EngineLost


@dataclass(frozen=True, slots=True)
class WorkFailed:
    """Work in the background broke off, by its name ("lora_folder", ...); it is begun again."""

    work: str


@dataclass(frozen=True, slots=True)
class SettingsRead:
    """The settings were read again, `at` unix seconds; `in_force` unless they could not be used."""

    in_force: bool
    at: float


@dataclass(frozen=True, slots=True)
class DecoderLost:
    """A process that decodes uploads took too long and was killed ("late"), or ended by itself ("died")."""

    reason: Literal["late", "died"]


MatteOutcome = Literal["made", "late", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class MatteEnded:
    """A matte was made, took too long and was stopped, or its model failed; or its caller went away.

    `seconds` is what its turn took.
    """

    outcome: MatteOutcome
    seconds: float


@dataclass(frozen=True, slots=True)
class PictureFetched:
    """A picture given by its address came, may not be fetched from there, or did not come."""

    outcome: Literal["fetched", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class RequestAnswered:
    """One answered request, for the metrics and the log; `retry_count` as the client's SDK told it.

    `painting` when it came to a route that paints; `refused` is the error code when such a request was turned away.
    `response_bytes` are those of the answer's body. `acting` where the route changes something or is for operators,
    `code` is the error's, whatever the route, and `key_id` the key that was shown.
    """

    operation: str
    model: str
    status: int
    seconds: float
    retry_count: int
    request_id: str
    tenant: str
    ignored: tuple[str, ...] = ()
    painting: bool = False
    refused: str | None = None
    response_bytes: int = 0
    acting: bool = False
    code: str | None = None
    key_id: str = ""


@dataclass(frozen=True, slots=True)
class Acted:
    """Somebody did what others may ask about later.

    `action` is such as "key.created", `target` the id of what it was done to and `tenant` whose that is; `about` says
    more of it. Nothing in it is secret.
    """

    actor: Caller
    tenant: str
    action: str
    target: str
    request_id: str = ""
    about: Mapping[str, str | int] = field(default_factory=dict)


Event = (
    RequestAnswered
    | Acted
    | JobAccepted
    | JobEvent
    | EngineEvent
    | WorkFailed
    | SettingsRead
    | DecoderLost
    | MatteEnded
    | PictureFetched
    | JudgeEnded
    | Moderated
)
