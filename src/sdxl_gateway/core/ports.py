"""The ports: the protocols of engines, backends, authentication, meters and stores, which rooms implement."""

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
    """One image being painted, with its latents, its sampler and its position in the steps."""

    @property
    def batch_key(self) -> Hashable:
        """Canvases of equal key can be batched in the next step; it may change as steps are done."""

    @property
    def steps_done(self) -> int:
        """Steps that are done."""

    @property
    def steps_total(self) -> int:
        """All steps, up to the finished picture."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the caller, such as that the prompt was truncated."""


CanvasT = TypeVar("CanvasT", bound=Canvas)


class DeviceLost(Exception):
    """The engine's device no longer answers, and its process has to end; any method may raise it."""


class Engine(Protocol[CanvasT]):
    """Paints. Every method is called on the one thread that owns the device; the work of its futures runs elsewhere."""

    def prefetch(self, recipe: Recipe) -> Future[None]:
        """Load the recipe's models and adapters in the background; the future raises what is wrong with them."""

    def release(self, recipe: Recipe) -> None:
        """The job of an earlier `prefetch` ended; its models and adapters may be evicted."""

    def begin(self, recipe: Recipe, index: int, inputs: Inputs) -> CanvasT:
        """Encode and prepare image `index`, up to its first step."""

    def step(self, canvases: Sequence[CanvasT]) -> None:
        """Advance canvases of one batch key by one step, with their model and blend.

        When this raises, a canvas whose `steps_done` has not changed may be stepped again, alone.
        """

    def preview(self, canvas: CanvasT) -> Future[Picture]:
        """The clean picture that is predicted now, at paint size or smaller; as `finish`."""

    def finish(self, canvas: CanvasT) -> Future[Picture]:
        """Decode a canvas that took all its steps, while the thread goes on with other canvases.

        The future raises NotFinite instead of a broken picture. Errors that are known at once may be raised at once.
        """


class Authenticator(Protocol):
    """Identifies callers."""

    async def authenticate(self, keys: Sequence[bytes]) -> Caller:
        """The caller with these credentials, of which there may be none. Raises Unauthenticated."""


class Meters(Protocol):
    """Counts usage against its limits, in this process or for several servers."""

    async def level(self, meter: Meter) -> Level:
        """The current level of a meter."""

    async def wait_seconds(self, meter: Meter, amount: int) -> float:
        """How long until so much may be taken, if nobody else takes any; 0 if it may be taken now."""

    async def take(self, meter: Meter, amount: int) -> bool:
        """Take so much; False if that is no longer allowed, as others were faster after `wait_seconds` was asked."""

    async def give_back(self, meter: Meter, amount: int) -> None:
        """Return so much of what was taken and not used; in windows of a minute it stays counted."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One encoded picture of a store, and its owner; `ext` is "png", "jpeg" or "webp".

    Times are unix seconds; at `expires` it is deleted, whatever addresses exist.
    """

    id: str
    ext: str
    tenant: str
    size_bytes: int
    created: float
    expires: float

    @property
    def file_name(self) -> str:
        """The last part of its address."""
        return f"{self.id}.{self.ext}"


class ImageStore(Protocol):
    """Keeps encoded pictures of tenants until they expire."""

    async def put(self, data: bytes, ext: str, *, tenant: str) -> StoredImage:
        """Store these bytes durably, under a new id that nobody can guess.

        Raises StorageFull, Unavailable, ValueError for another `ext`.
        """

    async def find(self, image_id: str) -> StoredImage:
        """The picture of that id. Raises NotFound if there is none, or it expired."""

    async def read(self, stored: StoredImage) -> bytes:
        """The picture's bytes. Raises NotFound if it has expired."""

    async def page_everywhere(self, tenant: str, limit: int, after: str | None = None) -> Listed[StoredImage]:
        """At most `limit` pictures of the tenant at any gateway, the newest first, behind the one of the id `after`.

        Raises InvalidRequest if the tenant has no picture of that id, Unavailable.
        """

    async def delete(self, image_id: str, tenant: str) -> None:
        """Delete the picture. Raises NotFound if the tenant has none of that id."""


class Addresses(Protocol):
    """Makes the addresses of kept pictures."""

    def address(self, image: StoredImage, base_url: str, seconds: float) -> str:
        """A public address of the picture, valid for so long or until it expires; `base_url` is this server's.

        Raises Unavailable.
        """


class PictureSource(Protocol):
    """Fetches pictures that a request gave by reference, from one kind of place."""

    async def bring(self, upload: Upload, caller: Caller) -> bytes:
        """The bytes of an upload that is elsewhere. Raises a Refusal that names its field if they cannot be fetched."""


class TenantStore(Protocol):
    """Stores data of tenants; `kind` is "prompts", "inputs", "results", "jobs" or another word for it.

    The settings' section `retention` has the days for each kind; without them data is kept until it is erased.
    """

    @property
    def kind(self) -> str:
        """The kind of data; several stores may have the same kind."""

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """All data of the tenant, as JSON values."""

    async def erase(self, tenant: str) -> int:
        """Delete all data of the tenant; how many objects that were. Raises StorageFull, Unavailable."""

    async def forget_before(self, unix_seconds: float) -> int:
        """Delete what is older, of all tenants, except what is still needed; how many objects that were."""


class Matte(Protocol):
    """Separates a picture's subject from its background."""

    digest: str
    """The sha256 (hex) of its file."""

    @property
    def replaced(self) -> bool:
        """Whether its file was replaced; the model in memory is still the old one."""

    async def alpha(self, picture: Picture) -> Picture:
        """The alpha channel, in mode L and the picture's size: 255 for the subject, 0 for the background.

        Raises DeadlineExceeded, EngineFault.
        """


class JobEvents(Protocol):
    """One job's events. Closing or dropping this before the last event cancels the job, unless it was detached.

    `position` is the job's place in the queue when it entered: 1 for the next one, 0 if an engine took it at once.
    """

    position: int

    def __aiter__(self) -> AsyncIterator[JobEvent]:
        """Each event once; ends after Finished or Failed."""

    async def aclose(self) -> None:
        """Stop listening. The job is cancelled, unless it ended or `detach` was called."""

    def detach(self) -> None:
        """From now on the job runs to its end, whether anybody listens or not."""


class Line(Protocol):
    """The state of the queue: how many jobs there are, and how long a new one would wait."""

    @property
    def waiting(self) -> int:
        """Jobs that no engine has begun."""

    @property
    def running(self) -> int:
        """Jobs that an engine has begun."""

    @property
    def wait_seconds(self) -> float:
        """The predicted time until an engine is free for a new job; 0 while nothing has been measured."""


class Backend(Line, Protocol):
    """Runs jobs on engines, in the same way for one device, many, or a fake.

    Measurements and losses of engines are announced as EngineEvents to the listener it was made with.
    """

    async def start(self) -> None:
        """Start the engines without waiting; `ready` turns true when one can paint. Jobs may be submitted before."""

    async def stop(self, grace_seconds: float) -> None:
        """End every job with Unavailable, and every engine, after the grace period by force; safe when not started."""

    def drain(self, reason: str) -> None:
        """End every job with Unavailable(reason) at once, and refuse new ones; the engines run until `stop`."""

    async def submit(self, job: Job) -> JobEvents:
        """Put the job into the queue; its events. Raises Busy or Unavailable if it cannot be queued."""

    def cancel(self, job_id: str) -> None:
        """Ask the job to end; its last event is then Failed(Cancelled), unless it ended before."""

    @property
    def ready(self) -> bool:
        """Whether an engine can paint now."""
