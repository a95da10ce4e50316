"""Takes the settings, builds every room; the only package that imports all others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from sdxl_gateway.api.http.closing import Closing
from sdxl_gateway.api.http.replaceable import Replaceable
from sdxl_gateway.config import Settings
from sdxl_gateway.core.background import Background
from sdxl_gateway.core.listeners import Listener
from sdxl_gateway.rooms.ground import Ground
from sdxl_gateway.rooms.intake import Intake
from sdxl_gateway.rooms.painting import BackendFactory, Painting, backend_of, open_engines, process_backend
from sdxl_gateway.rooms.shelves import Shelves
from sdxl_gateway.rooms.stores import Stores
from sdxl_gateway.rooms.teams import Teams
from sdxl_gateway.rooms.watch import Watch, open_metrics
from sdxl_gateway.rooms.work import KEYS_STAY, Work, all_remembered
from sdxl_gateway.s3.open import open_bucket
from sdxl_gateway.storage.remembered import Remembered
from sdxl_gateway.telemetry.logs import configure_logs

__all__ = ["KEYS_STAY", "BackendFactory", "Rooms", "backend_of", "build_rooms", "process_backend", "under"]


@dataclass(frozen=True, slots=True)
class Rooms:
    """Every room, built and not yet running."""

    settings: Settings
    shelves: Shelves
    ground: Ground
    intake: Intake
    watch: Watch
    teams: Teams
    stores: Stores
    painting: Painting
    work: Work
    remembered: Remembered
    background: Background
    closing: Closing = field(default_factory=Closing)
    front: Replaceable = field(default_factory=Replaceable)


def build_rooms(
    settings: Settings,
    open_backend: BackendFactory = process_backend,
    scratch: Path | None = None,
    listeners: Iterable[Listener] = (),
) -> Rooms:
    """State is kept in the data directory, or in `scratch` if given; `listeners` are told everything too."""
    configure_logs(settings.telemetry)
    bucket = open_bucket(settings.s3) if scratch is None else None
    shelves = Shelves.open(settings, bucket)
    ground = Ground.open(settings, scratch or settings.data_directory, bucket)
    metrics = open_metrics(settings, shelves.checkpoints)
    intake = Intake.open(settings, shelves, ground.database, metrics.on_event)
    watch = Watch.open(settings, ground, metrics, intake.library, listeners)
    backend = open_engines(settings, shelves, intake, watch, open_backend)
    teams = Teams.open(settings, ground, watch.listeners)
    stores = Stores.open(settings, ground, watch, teams)
    painting = Painting.open(settings, backend, intake, watch, teams, stores)
    work = Work.open(settings, ground, watch, teams, stores, painting)
    remembered = all_remembered(settings, watch, teams, stores, work)
    background = Background(watch.listeners)
    return Rooms(settings, shelves, ground, intake, watch, teams, stores, painting, work, remembered, background)


def under(built: Rooms, settings: Settings) -> Rooms:
    """Rooms that depend on settings, built anew; those with sockets, engines, folders or stored state are kept."""
    intake = built.intake.under(settings, built.shelves)
    teams = replace(built.teams, limits=built.teams.limits.under(settings))
    painting = built.painting.under(settings, intake, built.watch, teams, built.stores)
    return replace(built, settings=settings, intake=intake, teams=teams, painting=painting)
