"""What paints and judges: the engines, the gateway in front of them, moderation, and the delivery of pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

from sdxl_gateway.admission.first_checkpoint import engine_process
from sdxl_gateway.backends.process.backend import ProcessBackend
from sdxl_gateway.backends.process.each_device import for_each_device
from sdxl_gateway.backends.ray.open import ray_backend
from sdxl_gateway.config import EngineProcess, Limits, Settings
from sdxl_gateway.core.listeners import EngineListener
from sdxl_gateway.core.ports import Backend
from sdxl_gateway.delivery.deliver import Deliverer
from sdxl_gateway.delivery.inspect import Inspection
from sdxl_gateway.egress.egress import Egress
from sdxl_gateway.gateway.moderations import Moderations
from sdxl_gateway.gateway.named_pictures import NamedPictures
from sdxl_gateway.gateway.paint import Gateway
from sdxl_gateway.gateway.picture_sources import named_pictures
from sdxl_gateway.rooms.accounts import Accounts
from sdxl_gateway.rooms.catalogs import Catalogs
from sdxl_gateway.rooms.intake import Intake
from sdxl_gateway.rooms.observers import Observers
from sdxl_gateway.rooms.stores import Stores
from sdxl_gateway.s3.open import fetching, heard_by
from sdxl_gateway.safety.judges import Judges
from sdxl_gateway.safety.open import open_judges, open_picture_judge

BackendFactory = Callable[[EngineProcess, Limits, EngineListener], Backend]
"""Takes an engine's settings, the queue's limits, and the listener for engines' events."""


def process_backend(engine: EngineProcess, limits: Limits, listener: EngineListener) -> Backend:
    """The default: a supervised engine process for each device."""
    engines, tenant_queue_size = for_each_device(engine), limits.tenant_queue_size
    return ProcessBackend(engines, queue_size=limits.queue_size, tenant_queue_size=tenant_queue_size, listener=listener)


def backend_of(settings: Settings) -> BackendFactory:
    """The factory that the settings name; a StartProblem is raised only when it is called."""
    return process_backend if settings.cluster.kind == "none" else partial(ray_backend, settings.cluster, settings.s3)


def open_engines(
    settings: Settings, catalogs: Catalogs, intake: Intake, observers: Observers, factory: BackendFactory
) -> Backend:
    """The backend, not started, with its queue's length as a metric; it fetches models before jobs that need them."""
    process = engine_process(settings, intake.admission.names)
    engines = factory(process, settings.limits, heard_by(catalogs.checkpoints, observers.listeners))
    backend = fetching(engines, catalogs.checkpoints, process, settings.cluster, observers.listeners)
    observers.metrics.follow_line(backend, lambda: backend.ready)
    return backend


@dataclass(frozen=True, slots=True)
class Painting:
    """All that lies between a recipe and a picture that may be sent."""

    backend: Backend
    egress: Egress
    judges: Judges
    moderations: Moderations
    pictures: NamedPictures
    gateway: Gateway

    @classmethod
    def open(
        cls,
        settings: Settings,
        backend: Backend,
        intake: Intake,
        observers: Observers,
        accounts: Accounts,
        stores: Stores,
    ) -> Self:
        """Raises StartProblem for a judge that cannot be opened."""
        egress = Egress(settings.egress.private_hosts)
        judges = open_judges(settings, egress, open_picture_judge(settings.safety), observers.metrics.on_event)
        deliverer = deliverer_of(settings, intake, observers, stores, judges)
        gateway = Gateway(
            settings,
            intake.admission,
            backend,
            deliverer,
            observers.listeners,
            egress,
            accounts.limits,
            stores.results,
            judges,
        )
        moderations = Moderations(judges, intake.admission.uploads)
        pictures = named_pictures(settings, stores.files, egress, observers.listeners)
        return cls(backend, egress, judges, moderations, pictures, gateway)

    def with_settings(
        self, settings: Settings, intake: Intake, observers: Observers, accounts: Accounts, stores: Stores
    ) -> Painting:
        """With other settings; engines are kept, with all they hold."""
        judges = open_judges(settings, self.egress, self.judges.pictures, observers.metrics.on_event)
        deliverer = deliverer_of(settings, intake, observers, stores, judges)
        return replace(
            self,
            judges=judges,
            moderations=self.moderations.with_judges(judges, intake.admission.uploads),
            pictures=named_pictures(settings, stores.files, self.egress, observers.listeners),
            gateway=self.gateway.with_settings(settings, intake.admission, deliverer, accounts.limits, judges),
        )


def deliverer_of(settings: Settings, intake: Intake, observers: Observers, stores: Stores, judges: Judges) -> Deliverer:
    """Encodes finished pictures, after they have been judged."""
    return Deliverer(
        stores.images,
        embed_recipe=settings.delivery.embed_recipe,
        matte=intake.matte,
        inspection=Inspection(judges, observers.listeners, stores.reviews),
        listener=observers.listeners,
    )
