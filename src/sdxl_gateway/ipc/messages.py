"""What the HTTP process and an engine process say to each other, as JSON and blobs (never pickle)."""

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
    """First word to an engine process: the settings it needs, as plain JSON values."""

    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Submit:
    """Paint this job."""

    job: Job


@dataclass(frozen=True, slots=True)
class Cancel:
    """End that job early."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End now; jobs still held are told Failed(Unavailable)."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The engine is loaded and takes jobs; `checkpoints` are the names it serves, `card` its GPU's name, if any."""

    device: str
    dtype: str
    checkpoints: tuple[str, ...]
    card: str = ""


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The engine could not be loaded; the process ends after saying so."""

    message: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The process lives; `loop_age_seconds` since its loop last moved on, 0 while it has nothing to do."""

    loop_age_seconds: float
    running: int
    waiting: int


@dataclass(frozen=True, slots=True)
class OthersHold:
    """What an engine that several gateways have in common does for the others: for each priority class, images and
    predicted seconds of that class and the higher ones. None of either, where nobody else has given it any."""

    images: tuple[int, ...] = ()
    seconds: tuple[float, ...] = ()


NOBODY = OthersHold()


@dataclass(frozen=True, slots=True)
class Refused:
    """That job was not taken: others were faster, or the engine is not there; it is to wait its turn again."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Leaving:
    """The engine paints what it has begun and then ends for good; the rest is for others."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The engine's process ended with all it was given, and is being started anew; `failed_starts` in a row so far."""

    failed_starts: int


@dataclass(frozen=True, slots=True)
class Stored:
    """Of the bucket's checkpoints, those of these manifests lie where the engine is."""

    manifests: tuple[str, ...]


Command = Submit | Cancel | Stop
FromAfar = OthersHold | Refused | Leaving | Ended | Stored | CheckpointFetched
"""What only an engine says that is not this machine's own."""
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
    """The message as JSON text, and the blobs (pixels) it refers to by place."""
    blobs: list[bytes] = []
    plain = {"kind": type(message).__name__, "body": to_plain(message, blobs)}
    return json.dumps(plain, separators=(",", ":")).encode(), tuple(blobs)


def decode(text: bytes, blobs: Sequence[bytes] = ()) -> Message:
    """The message `encode` was given. Raises Malformed for anything else."""
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
