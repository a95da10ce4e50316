"""The two seams the house turns on: an Engine paints canvases step by step, a Backend takes jobs and tells events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Protocol, TypeVar

from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.events import JobEvent, Measurement
from sdxl_gateway.core.job import Job
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
    """Paints; every method but `prefetch`'s future runs on the one thread that owns the device."""

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

    def preview(self, canvas: CanvasT) -> Picture:
        """The predicted clean picture at this point, at paint size."""

    def finish(self, canvas: CanvasT) -> Picture:
        """Decode a canvas that took all its steps. Raises NotFinite rather than give a broken picture."""


class Authenticator(Protocol):
    """Tells who asks."""

    async def authenticate(self, keys: Sequence[bytes]) -> Caller:
        """The caller who offers these credentials, of which there may be none. Raises Unauthenticated."""


class Events(Protocol):
    """One job's events, to the last; closing it before that cancels the job."""

    def __aiter__(self) -> AsyncIterator[JobEvent]: ...

    async def aclose(self) -> None: ...


class Backend(Protocol):
    """Takes jobs, gives their events; the caller sees no difference between one device, many, or a fake."""

    async def submit(self, job: Job) -> Events:
        """Enter the line and follow the job to its last event. Raises Busy or Unavailable if it cannot enter."""

    def cancel(self, job_id: str) -> None:
        """Ask for an early end; the job's last event will be Failed(Cancelled) if it was still going."""

    @property
    def ready(self) -> bool:
        """An engine can paint now."""
