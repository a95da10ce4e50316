"""Takes checkpoints and what engines say they hold, gives what callers are told: the API's own schemas."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping
from typing import Any, Literal

from typing_extensions import TypedDict

from sdxl_gateway.admission.defaults import first_said, known_of
from sdxl_gateway.catalog.checkpoint_folder.catalog import CheckpointCatalog
from sdxl_gateway.catalog.checkpoint_folder.versions import versioned
from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.core.caller import ANYBODY, Caller
from sdxl_gateway.core.errors import Forbidden, ModelNotFound, WrongState
from sdxl_gateway.core.events import EngineLost, Event, Failed, Finished, JobAccepted, Measured, MemoryHeld
from sdxl_gateway.core.text import shown
from sdxl_gateway.gateway.lora_card import Recommended, Warmth

WARM_TIERS = ("vram", "host")
NOT_OVER_HTTP = {"path", "config", "vae", "refiner"}
"""Keys that name other files are neither shown nor changed over HTTP."""


class Checkpoint(TypedDict):
    """A checkpoint; `created` is unix seconds, `tier` the nearest place it is: vram, host, disk, or the bucket that
    it is fetched from when it is asked for. One that is `in_folder` can be described and removed; `side_car` is what
    the file beside it says that can be changed over HTTP."""

    id: str
    object: Literal["checkpoint"]
    created: int
    digest: str
    configured: bool
    in_folder: bool
    native_pixels: int
    recommended: Recommended
    description: str
    ready: Warmth
    tier: str
    side_car: dict[str, Any]


class CheckpointProblem(TypedDict):
    """Something in the checkpoint folder that cannot be used, or not wholly, and why."""

    file: str
    code: str
    message: str


class CheckpointCards:
    """Every checkpoint as the API shows it; a Listener, for what engines hold and jobs need."""

    def __init__(self, checkpoints: CheckpointCatalog) -> None:
        self._checkpoints = checkpoints
        self._held: dict[str, Mapping[str, tuple[str, ...]]] = {}
        self._jobs: dict[str, frozenset[str]] = {}

    def on_event(self, event: Event) -> None:
        """Note what engines hold and jobs need."""
        match event:
            case JobAccepted():
                self._jobs[event.job_id] = frozenset(phase.checkpoint for phase in event.recipe.phases)
            case Finished() | Failed():
                self._jobs.pop(event.job_id, None)
            case Measured(engine_id=engine_id, measurement=MemoryHeld(checkpoints=held)):
                self._held[engine_id] = held
            case EngineLost(engine_id=engine_id):
                self._held.pop(engine_id, None)
            case _:
                pass

    def tier(self, entry: CheckpointEntry) -> str:
        """The nearest tier in which some engine has this version of it."""
        version = versioned(entry.name, entry.digest)
        held = {tier for one in self._held.values() for tier, versions in one.items() if version in versions}
        away = "disk" if self._checkpoints.is_here(entry) else "bucket"
        return next((tier for tier in WARM_TIERS if tier in held), away)

    def warmth(self, entry: CheckpointEntry) -> Warmth:
        """Warm when it need not be read from a disk or a bucket first."""
        return "warm" if self.tier(entry) in WARM_TIERS else "cold"

    def cards(self, caller: Caller = ANYBODY) -> list[Checkpoint]:
        """Those the caller sees: those configured, then those of the folder by name."""
        return [self._card(entry) for entry in self._checkpoints.values() if caller.sees_model(entry.name)]

    def problems(self, caller: Caller = ANYBODY) -> list[CheckpointProblem]:
        """What lies in the checkpoint folder and is no model, or a side-car not wholly used, and why."""
        found = (one for one in self._checkpoints.problems if caller.sees_model(one.name))
        return [{"file": one.file, "code": one.code, "message": one.message} for one in found]

    async def add(self, name: str, content: AsyncIterable[bytes], caller: Caller = ANYBODY) -> Checkpoint:
        """A single file lies in the folder under that name. Raises as CheckpointCatalog.add, and Forbidden."""
        if not caller.sees_model(name):
            raise Forbidden(f"This key is not for a checkpoint of the name {shown(name)}.")
        return self._card(await self._checkpoints.add(name, content))

    async def describe(self, name: str, changes: Mapping[str, Any], caller: Caller = ANYBODY) -> Checkpoint:
        """Change these values in its side-car; None removes one.

        Raises ModelNotFound, WrongState for one that is not in the folder, InvalidRequest.
        """
        check_seen(name, caller)
        return self._card(await self._checkpoints.change_sidecar(name, changes))

    def check_removable(self, name: str, caller: Caller = ANYBODY) -> None:
        """Raises ModelNotFound, and WrongState for one that is not in the folder, or that a job needs."""
        check_seen(name, caller)
        self._checkpoints.own(name)
        if any(name in needed for needed in self._jobs.values()):
            raise WrongState(f"A picture that runs or waits needs {shown(name)}; try later.", param="name")

    def _card(self, entry: CheckpointEntry) -> Checkpoint:
        said, known = entry.section, known_of(entry.name, entry.section)
        in_folder = self._checkpoints.in_folder(entry)
        return {
            "id": entry.name,
            "object": "checkpoint",
            "created": entry.created,
            "digest": entry.digest,
            "configured": self._checkpoints.is_configured(entry.name),
            "in_folder": in_folder,
            "native_pixels": entry.native_pixels,
            "recommended": {
                "steps": first_said(said.steps, known.steps),
                "guidance_scale": first_said(said.guidance_scale, known.guidance_scale),
                "sampler": first_said(said.sampler, known.sampler),
                "schedule": first_said(said.schedule, known.schedule),
                "eta": known.eta,
                "clip_skip": said.clip_skip,
            },
            "description": said.description or "",
            "ready": self.warmth(entry),
            "tier": self.tier(entry),
            "side_car": said.model_dump(exclude=NOT_OVER_HTTP, exclude_unset=True) if in_folder else {},
        }


def check_seen(name: str, caller: Caller) -> None:
    """Raises ModelNotFound for a checkpoint that is not there for the caller."""
    if not caller.sees_model(name):
        raise ModelNotFound(f"There is no checkpoint {shown(name)}.", param="name")
