"""What happens to requests, jobs and engines, as one kind of thing: an Event, announced to every listener.

A job's life is `JobAccepted Started? Progressed* Previewed* Painted* (Finished | Failed)`: exactly one last event,
whatever goes wrong; between them StageEnded, where it is traced. Measurements of an engine (core/measurements.py)
belong to no job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import GatewayError
from sdxl_gateway.core.measurements import AdapterEvicted as AdapterEvicted
from sdxl_gateway.core.measurements import AdapterLoaded as AdapterLoaded
from sdxl_gateway.core.measurements import BlendSwitched as BlendSwitched
from sdxl_gateway.core.measurements import Held as Held
from sdxl_gateway.core.measurements import Measurement as Measurement
from sdxl_gateway.core.measurements import MemoryHeld as MemoryHeld
from sdxl_gateway.core.measurements import ModelLoaded as ModelLoaded
from sdxl_gateway.core.measurements import StageTimed as StageTimed
from sdxl_gateway.core.measurements import StepTaken as StepTaken
from sdxl_gateway.core.outside import CheckpointFetched, CheckpointsStored, PictureFetched, WebhookTried
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.core.rollout import ArmEnded as ArmEnded
from sdxl_gateway.core.rollout import ArmOutcome as ArmOutcome
from sdxl_gateway.core.safety import JudgeEnded, Moderated
from sdxl_gateway.core.trace import StageEnded as StageEnded
from sdxl_gateway.core.trace import Trace


@dataclass(frozen=True, slots=True)
class JobAccepted:
    """A request was resolved and its job is about to enter the queue; one last event follows, whatever happens.

    `loras` are the names of the catalogue's LoRAs in it, `arrived` is unix seconds, `end_user` is whom the caller
    said it paints for, and `key_id` is the key it was asked for with. `trace` is the job's own span, if it has one, and
    `priority` its class.
    """

    job_id: str
    tenant: str
    recipe: Recipe
    loras: tuple[str, ...]
    arrived: float
    end_user: str | None = None
    key_id: str = ""
    trace: Trace | None = None
    priority: Priority = Priority.NORMAL


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


JobEvent = Started | Progressed | Previewed | Painted | StageEnded | Finished | Failed


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
    """The engine of that id holds nothing any more; it says what it holds when it is there again, unless it left
    `for_good`."""

    engine_id: str
    for_good: bool = False


@dataclass(frozen=True, slots=True)
class JobAssigned:
    """The engine of that id was given a job; `warmth` is how much of its model was on the device: "blend" is all."""

    engine_id: str
    warmth: Literal["blend", "checkpoint", "cold"]


@dataclass(frozen=True, slots=True)
class JobTakenBack:
    """A job waits its turn again: its engine was `lost`, is `leaving`, or turned out to be `full`."""

    engine_id: str
    reason: Literal["lost", "leaving", "full"]


EngineEvent = Measured | EngineOpened | EngineLost | JobAssigned | JobTakenBack | CheckpointsStored | CheckpointFetched


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
class Forgotten:
    """So many things of that kind, a TenantStore's, were old enough to go."""

    kind: str
    count: int


KeptKind = Literal["job", "batch", "file", "reply"]


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that outlives its request came or went, `count` times.

    A "job" or "batch" was "accepted", or is over as its state says, or was "taken_over" from a gateway that is gone,
    or "let_go" to one that took it over; a "file" was "stored", "deleted", or has "expired";
    a "reply" was "kept" under its Idempotency-Key, or "replayed".
    """

    kind: KeptKind
    outcome: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class DecoderLost:
    """A process that decodes uploads took too long and was killed ("late"), or ended by itself ("died")."""

    reason: Literal["late", "died"]


LookupOutcome = Literal["hit", "miss"]


@dataclass(frozen=True, slots=True)
class ResultLooked:
    """A request's pictures were looked for among those painted before; a hit has no job."""

    outcome: LookupOutcome


MatteOutcome = Literal["made", "late", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class MatteEnded:
    """A matte was made, took too long and was stopped, or its model failed; or its caller went away.

    `seconds` is what its turn took.
    """

    outcome: MatteOutcome
    seconds: float


@dataclass(frozen=True, slots=True)
class RequestAnswered:
    """One answered request, for the metrics and the log; `retry_count` as the client's SDK told it.

    `painting` when it came to a route that paints; `refused` is the error code when such a request was turned away.
    `response_bytes` are those of the answer's body. `acting` where the route changes something or is for operators,
    `code` is the error's, whatever the route, and `key_id` the key that was shown. `trace` is the request's span,
    and `client_request_id` what the caller knows it by.
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
    trace: Trace | None = None
    client_request_id: str | None = None


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
    | Forgotten
    | Kept
    | DecoderLost
    | MatteEnded
    | ArmEnded
    | ResultLooked
    | PictureFetched
    | JudgeEnded
    | Moderated
    | WebhookTried
)
