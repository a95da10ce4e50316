"""Events of requests, jobs and engines, which are announced to every listener.

A job's life is `JobAccepted Started? Progressed* Previewed* Painted* (Finished | Failed)`: exactly one last event,
whatever goes wrong; StageEnded comes between them if it is traced. Measurements of an engine (core/measurements.py)
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

    `loras` are the names of the catalogue's LoRAs in it, `arrived` is unix seconds, `end_user` is the caller's own name
    for its user, and `key_id` is the key of the request. `trace` is the job's own span, if it has one, and `priority`
    its class.
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
    """An engine began the job's first image, `waited_seconds` after its arrival."""

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
    """A preview of image `index`: the predicted clean picture, at paint size or smaller."""

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
    """A measurement of one engine; the engine's id stays the same when its process is restarted."""

    engine_id: str
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class EngineOpened:
    """An engine is ready to paint, on this device and in this number format; `card` is the name of its GPU, if any."""

    engine_id: str
    device: str
    dtype: str
    card: str

    def __str__(self) -> str:
        """As "cuda:0 (NVIDIA H200) in float16"."""
        return f"{self.device}{f' ({self.card})' if self.card else ''} in {self.dtype}"


@dataclass(frozen=True, slots=True)
class EngineLost:
    """An engine was lost, with all that it held; unless it is lost `for_good`, it reports again when it returns."""

    engine_id: str
    for_good: bool = False


@dataclass(frozen=True, slots=True)
class JobAssigned:
    """A job was given to an engine; `warmth` is how much of its model was on the device: "blend" is all of it."""

    engine_id: str
    warmth: Literal["blend", "checkpoint", "cold"]


@dataclass(frozen=True, slots=True)
class JobTakenBack:
    """A job was put back into the queue: its engine was `lost`, is `leaving`, or turned out to be `full`."""

    engine_id: str
    reason: Literal["lost", "leaving", "full"]


EngineEvent = Measured | EngineOpened | EngineLost | JobAssigned | JobTakenBack | CheckpointsStored | CheckpointFetched


@dataclass(frozen=True, slots=True)
class WorkFailed:
    """Background work of that name ("lora_folder", ...) failed, and will be restarted."""

    work: str


@dataclass(frozen=True, slots=True)
class SettingsRead:
    """The settings were read again, `at` unix seconds; `in_force` if they are valid and now apply."""

    in_force: bool
    at: float


@dataclass(frozen=True, slots=True)
class Forgotten:
    """So many objects of a TenantStore of that kind have expired."""

    kind: str
    count: int


KeptKind = Literal["job", "batch", "file", "reply"]


@dataclass(frozen=True, slots=True)
class Kept:
    """Stored objects were added or removed, `count` of them.

    A "job" or "batch" was "accepted", or ended in the state of that name, or was "taken_over" from a gateway that is
    gone, or "let_go" to one that took it over; a "file" was "stored", "deleted", or has "expired";
    a "reply" was "kept" under its Idempotency-Key, or "replayed".
    """

    kind: KeptKind
    outcome: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class DecoderLost:
    """A decoding process took too long and was killed ("late"), or crashed ("died")."""

    reason: Literal["late", "died"]


LookupOutcome = Literal["hit", "miss"]


@dataclass(frozen=True, slots=True)
class ResultLooked:
    """The cache of results was looked up for a request; a hit has no job."""

    outcome: LookupOutcome


MatteOutcome = Literal["made", "late", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class MatteEnded:
    """A matte was made, was stopped because it took too long, or failed; or the client disconnected.

    `seconds` is what its turn took.
    """

    outcome: MatteOutcome
    seconds: float


@dataclass(frozen=True, slots=True)
class RequestAnswered:
    """One answered request, for the metrics and the log; `retry_count` is what the client's SDK reports.

    `painting` if the route paints; `refused` is the error code when such a request was refused. `response_bytes` is the
    size of the body of the answer. `acting` if the route changes something or is for operators, `code` is the error's,
    on whatever route, and `key_id` the key of the request. `trace` is the request's span, and
    `client_request_id` is the caller's own id for it.
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
    """Somebody did something that is to be audited.

    `action` is such as "key.created", `target` the id of the object and `tenant` its owner; `about` has details.
    Nothing in it is secret.
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
