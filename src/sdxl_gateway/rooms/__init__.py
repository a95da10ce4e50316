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
from sdxl_gateway.rooms.accounts import Accounts
from sdxl_gateway.rooms.catalogs import Catalogs
from sdxl_gateway.rooms.fleet import Fleet
from sdxl_gateway.rooms.intake import Intake
from sdxl_gateway.rooms.observers import Observers, open_metrics
from sdxl_gateway.rooms.painting import BackendFactory, Painting, backend_of, open_engines, process_backend
from sdxl_gateway.rooms.persistence import Persistence
from sdxl_gateway.rooms.stores import Stores
from sdxl_gateway.rooms.work import KEYS_STAY, Work, all_remembered
from sdxl_gateway.s3.open import open_bucket
from sdxl_gateway.storage.remembered import Remembered
from sdxl_gateway.telemetry.logs import configure_logs

__all__ = ["KEYS_STAY", "BackendFactory", "Rooms", "backend_of", "build_rooms", "process_backend"]


@dataclass(frozen=True, slots=True)
class Rooms:
    """Every room, built and not yet running."""

    settings: Settings
    catalogs: Catalogs
    persistence: Persistence
    intake: Intake
    observers: Observers
    fleet: Fleet
    accounts: Accounts
    stores: Stores
    painting: Painting
    work: Work
    remembered: Remembered
    background: Background
    closing: Closing = field(default_factory=Closing)
    front: Replaceable = field(default_factory=Replaceable)

    def with_settings(self, settings: Settings) -> Rooms:
        """The rooms that depend on settings, built anew; those that hold sockets, engines, folders or data stay."""
        intake = self.intake.with_settings(settings, self.catalogs)
        accounts = self.accounts.with_settings(settings)
        painting = self.painting.with_settings(settings, intake, self.observers, accounts, self.stores)
        return replace(self, settings=settings, intake=intake, accounts=accounts, painting=painting)


def build_rooms(
    settings: Settings,
    open_backend: BackendFactory = process_backend,
    scratch: Path | None = None,
    listeners: Iterable[Listener] = (),
) -> Rooms:
    """State is kept in the data directory, or in `scratch` if given; `listeners` are told everything too."""
    configure_logs(settings.telemetry)
    bucket = open_bucket(settings.s3) if scratch is None else None
    catalogs = Catalogs.open(settings, bucket)
    persistence = Persistence.open(settings, scratch or settings.data_directory, bucket)
    metrics = open_metrics(settings, catalogs.checkpoints)
    intake = Intake.open(settings, catalogs, persistence.database, metrics.on_event)
    observers = Observers.open(settings, persistence, metrics, intake.library, listeners)
    backend = open_engines(settings, catalogs, intake, observers, open_backend)
    fleet = Fleet.open(settings, persistence, observers.listeners)
    accounts = Accounts.open(settings, persistence, fleet)
    stores = Stores.open(settings, persistence, observers, fleet)
    painting = Painting.open(settings, backend, intake, observers, accounts, stores)
    work = Work.open(settings, persistence, observers, fleet, stores, painting)
    return Rooms(
        settings=settings,
        catalogs=catalogs,
        persistence=persistence,
        intake=intake,
        observers=observers,
        fleet=fleet,
        accounts=accounts,
        stores=stores,
        painting=painting,
        work=work,
        remembered=all_remembered(settings, observers, fleet, accounts, stores, work),
        background=Background(observers.listeners),
    )
