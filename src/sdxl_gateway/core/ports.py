"""The seams the house turns on: what an Engine, a Backend, an Authenticator, Meters and an ImageStore are asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sdxl_gateway.core.allowance import Level, Meter
from sdxl_gateway.core.ask import Upload
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.events import JobEvent, Measurement
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.listed import Listed
from sdxl_gateway.core.picture import Inputs, Picture
from sdxl_gateway.core.recipe import Recipe

Measure = Callable[[Measurement], None]


class Canvas(Protocol):
    """One image being painted; owns its latents, its sampler and its place in the step sequence."""

    @property
    def batch_key(self) -> Hashable:
        """Canvases of equal key may share the next step; it may change as steps are done."""

    @property
    def steps_done(self) -> int:
        """Steps taken so far."""

    @property
    def steps_total(self) -> int:
        """Steps from the first to the finished picture."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the caller should know although the picture is fine, such as a prompt cut short."""


CanvasT = TypeVar("CanvasT", bound=Canvas)


class DeviceLost(Exception):
    """An engine's device answers nothing any more until its process ends; any of its methods may raise it."""


class Engine(Protocol[CanvasT]):
    """Paints; every method runs on the one thread that owns the device, and what futures are waited for does not."""

    def prefetch(self, recipe: Recipe) -> Future[None]:
        """Bring the recipe's models and adapters near, off the step loop; the future raises what is wrong with them."""

    def release(self, recipe: Recipe) -> None:
        """The job of an earlier `prefetch` ended: its models and adapters may be evicted again."""

    def begin(self, recipe: Recipe, index: int, inputs: Inputs) -> CanvasT:
        """Encode and prepare image `index`; the canvas is ready for its first step."""

    def step(self, canvases: Sequence[CanvasT]) -> None:
        """Advance all by one step; they share one batch key. The phase's model and blend are put on first.

        When this raises, a canvas whose `steps_done` has not moved may be stepped again, alone.
        """

    def preview(self, canvas: CanvasT) -> Future[Picture]:
        """The predicted clean picture at this point, at paint size or smaller; as `finish`."""

    def finish(self, canvas: CanvasT) -> Future[Picture]:
        """Decode a canvas that took all its steps; the thread goes on with others' meanwhile.

        The future raises NotFinite rather than give a broken picture. What is wrong at once may be raised at once.
        """


class Authenticator(Protocol):
    """Tells who asks."""

    async def authenticate(self, keys: Sequence[bytes]) -> Caller:
        """The caller who offers these credentials, of which there may be none. Raises Unauthenticated."""


class Meters(Protocol):
    """Counts what is taken against what may be, in this process or for several servers."""

    async def level(self, meter: Meter) -> Level:
        """How it stands."""

    async def wait_seconds(self, meter: Meter, amount: int) -> float:
        """Until so much more may be taken, if nobody else takes any; 0 where it may be now."""

    async def take(self, meter: Meter, amount: int) -> bool:
        """Count so much, of which it was asked before whether it may be taken; False where others were faster."""

    async def give_back(self, meter: Meter, amount: int) -> None:
        """So much of what was taken was not used; in a minute's window it stays counted."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One encoded picture a store keeps, and whose it is; `ext` is "png", "jpeg" or "webp".

    Times are unix seconds; at `expires` it is gone, whatever address leads to it.
    """

    id: str
    ext: str
    tenant: str
    size_bytes: int
    created: float
    expires: float

    @property
    def file_name(self) -> str:
        """What its address ends in."""
        return f"{self.id}.{self.ext}"


class ImageStore(Protocol):
    """Keeps encoded pictures until their time is over; each belongs to a tenant."""

    async def put(self, data: bytes, ext: str, *, tenant: str) -> StoredImage:
        """Keep these bytes under a new id that nobody can guess; they are on the disk, or where else it keeps them.

        Raises StorageFull, Unavailable, ValueError for another `ext`.
        """

    async def find(self, image_id: str) -> StoredImage:
        """The kept picture of that id. Raises NotFound where there is none, or none any more."""

    async def read(self, stored: StoredImage) -> bytes:
        """The picture's bytes. Raises NotFound when its time ended meanwhile."""

    async def page_everywhere(self, tenant: str, limit: int, after: str | None = None) -> Listed[StoredImage]:
        """At most `limit` of the tenant's, at whichever gateway, the newest first.

        Raises InvalidRequest where the tenant has none of the id `after`, behind which the page begins; Unavailable.
        """

    async def delete(self, image_id: str, tenant: str) -> None:
        """The picture is gone. Raises NotFound where the tenant has none of that id."""


class Addresses(Protocol):
    """Tells where kept pictures are fetched from."""

    def address(self, image: StoredImage, base_url: str, seconds: float) -> str:
        """Where whoever has it sees the picture for so long, or for as long as it is kept; `base_url` is this server's.

        Raises Unavailable.
        """


class PictureSource(Protocol):
    """Brings pictures that a request only named, from one place."""

    async def bring(self, upload: Upload, caller: Caller) -> bytes:
        """The bytes of an upload that is elsewhere. Raises a Refusal naming its field where they cannot be had."""


class TenantStore(Protocol):
    """Remembers something of tenants; `kind` is "prompts", "inputs", "results", "jobs" or another word for it.

    Each kind has its days in the section `retention`; what has none stays until it is erased.
    """

    @property
    def kind(self) -> str:
        """What is remembered; several stores may remember things of one kind."""

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """All of the tenant's, as JSON values."""

    async def erase(self, tenant: str) -> int:
        """All of the tenant's is gone; how many things that were. Raises StorageFull, Unavailable."""

    async def forget_before(self, unix_seconds: float) -> int:
        """What is older is gone, whoever's it was, but for what is still needed; how many things that were."""


class Matte(Protocol):
    """Tells a picture's subject from what is behind it."""

    digest: str
    """sha256, hex, of the file it was read from."""

    @property
    def replaced(self) -> bool:
        """Another file lies there by now; this one is in memory, and is what it was."""

    async def alpha(self, picture: Picture) -> Picture:
        """Mode L, of the picture's size: 255 where the subject covers a pixel, 0 where it does not.

        Raises DeadlineExceeded, EngineFault.
        """


class JobEvents(Protocol):
    """One job's events, to the last. Closing it, or letting go of it, before that cancels the job unless detached.

    `position` is the job's place in the line as it entered: 1 for the next one, 0 where an engine took it at once.
    """

    position: int

    def __aiter__(self) -> AsyncIterator[JobEvent]:
        """Each event once; ends after Finished or Failed."""

    async def aclose(self) -> None:
        """Stop listening. The job is cancelled, unless it is over or `detach` was called."""

    def detach(self) -> None:
        """From now on the job goes on to its end, whether anybody follows or not."""


class Line(Protocol):
    """How many jobs are where, and how long one that comes now would wait."""

    @property
    def waiting(self) -> int:
        """Jobs no engine has begun."""

    @property
    def running(self) -> int:
        """Jobs an engine has begun."""

    @property
    def wait_seconds(self) -> float:
        """Predicted, until an engine is free for a job behind all of these; 0 while nothing was measured."""


class Backend(Line, Protocol):
    """Takes jobs, gives their events; the caller sees no difference between one device, many, or a fake.

    What its engines measure and when they are lost it announces as EngineEvents to the listener it was made with.
    """

    async def start(self) -> None:
        """Returns at once; `ready` turns true when an engine can paint. Jobs may be submitted before."""

    async def stop(self, grace_seconds: float) -> None:
        """End every job with Unavailable and every engine, those that linger by force; safe when not started."""

    def drain(self, reason: str) -> None:
        """End every job with Unavailable(reason), at once, and turn away who comes; the engines stay until `stop`."""

    async def submit(self, job: Job) -> JobEvents:
        """Enter the queue and follow the job to its last event. Raises Busy or Unavailable if it cannot enter."""

    def cancel(self, job_id: str) -> None:
        """Ask for an early end; the job's last event will be Failed(Cancelled) if it was still going."""

    @property
    def ready(self) -> bool:
        """An engine can paint now."""
