"""The messages between the HTTP process and engine processes, as JSON and blobs (never pickle)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sdxl_gateway.core import events
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.outside import CheckpointFetched
from sdxl_gateway.ipc.codec import Malformed, from_plain, to_plain


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message to an engine process: its settings, as JSON values."""

    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Submit:
    """Paint this job."""

    job: Job


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel this job."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End now; remaining jobs end with Failed(Unavailable)."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The engine is loaded and takes jobs; `checkpoints` are the names it serves, `card` is its GPU's name, if any."""

    device: str
    dtype: str
    checkpoints: tuple[str, ...]
    card: str = ""


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The engine could not be loaded; the process ends after this."""

    message: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The process is alive; `loop_age_seconds` since its loop last made progress, 0 while it is idle."""

    loop_age_seconds: float
    running: int
    waiting: int


@dataclass(frozen=True, slots=True)
class OthersHold:
    """What an engine that several gateways share has to do for other gateways: for each priority class, the images and
    predicted seconds of that class and higher ones; empty if there are no jobs of others."""

    images: tuple[int, ...] = ()
    seconds: tuple[float, ...] = ()


NOBODY = OthersHold()


@dataclass(frozen=True, slots=True)
class Refused:
    """The job was not accepted, as others were faster or the engine is not there; it returns to the queue."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Leaving:
    """The engine finishes the jobs it has begun and then ends for good; others have to paint the rest."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The engine's process ended with all its jobs, and is being restarted, after `failed_starts` in a row."""

    failed_starts: int


@dataclass(frozen=True, slots=True)
class Stored:
    """The engine's machine has the checkpoints of these manifests, of those in the bucket."""

    manifests: tuple[str, ...]


Command = Submit | Cancel | Stop
FromAfar = OthersHold | Refused | Leaving | Ended | Stored | CheckpointFetched
"""Messages that only engines on other machines send."""
Report = Ready | LoadFailed | Heartbeat | FromAfar | events.JobEvent | events.Measurement
Message = Hello | Command | Report

KINDS: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in (
        Hello,
        Submit,
        Cancel,
        Stop,
        Ready,
        LoadFailed,
        Heartbeat,
        OthersHold,
        Refused,
        Leaving,
        Ended,
        Stored,
        CheckpointFetched,
        events.Started,
        events.Progressed,
        events.Previewed,
        events.Painted,
        events.StageEnded,
        events.Finished,
        events.Failed,
        events.StepTaken,
        events.BlendSwitched,
        events.StageTimed,
        events.ModelLoaded,
        events.AdapterLoaded,
        events.AdapterEvicted,
        events.MemoryHeld,
        events.Held,
    )
}


def encode(message: Message) -> tuple[bytes, tuple[bytes, ...]]:
    """The message as JSON text, and the blobs (pixels) that it refers to by index."""
    blobs: list[bytes] = []
    plain = {"kind": type(message).__name__, "body": to_plain(message, blobs)}
    return json.dumps(plain, separators=(",", ":")).encode(), tuple(blobs)


def decode(text: bytes, blobs: Sequence[bytes] = ()) -> Message:
    """The message that was encoded. Raises Malformed."""
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise Malformed("not JSON") from problem
    if not isinstance(plain, dict) or plain.keys() != {"kind", "body"}:
        raise Malformed("not a message")
    kind = KINDS.get(str(plain["kind"]))
    if kind is None:
        raise Malformed("a message of no known kind")
    message: Message = from_plain(kind, plain["body"], blobs)
    return message
