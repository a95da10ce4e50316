"""Background work after requests are answered: jobs, batches, webhooks; and the list of all stores of tenants' data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sdxl_gateway.accounts.key_store import KeyStore
from sdxl_gateway.api.endpoints.batch_lines import BatchLines
from sdxl_gateway.config import Settings
from sdxl_gateway.core.order import WEBHOOK_SIGNING
from sdxl_gateway.gateway.batches import Batches, tell_of_batch
from sdxl_gateway.gateway.fleet.arms import Arms
from sdxl_gateway.gateway.fleet.remembered import FleetRemembered
from sdxl_gateway.gateway.job_texts import JobTexts
from sdxl_gateway.gateway.tasks import Tasks
from sdxl_gateway.rooms.accounts import Accounts
from sdxl_gateway.rooms.fleet import Fleet
from sdxl_gateway.rooms.observers import Observers
from sdxl_gateway.rooms.painting import Painting
from sdxl_gateway.rooms.persistence import Persistence
from sdxl_gateway.rooms.stores import Stores
from sdxl_gateway.shared.order_mirror import nobody
from sdxl_gateway.storage.batches import BatchStore
from sdxl_gateway.storage.remembered import Lasting, Remembered
from sdxl_gateway.telemetry.audit.chain import chain_in
from sdxl_gateway.telemetry.audit.kept import REASON, AuditLines
from sdxl_gateway.webhooks.sender import WebhookSender

KEYS_STAY = "Keys are for operators to revoke: DELETE /v1/admin/keys/{id}."


@dataclass(frozen=True, slots=True)
class Work:
    """Runs in the background, and resumes after a restart."""

    tasks: Tasks
    batches: Batches
    webhooks: WebhookSender
    arms: Arms

    @classmethod
    def open(
        cls,
        settings: Settings,
        persistence: Persistence,
        observers: Observers,
        fleet: Fleet,
        stores: Stores,
        painting: Painting,
    ) -> Self:
        """Nothing is started yet."""
        owing = nobody if fleet.orders is None else fleet.orders.owing
        tasks = Tasks(settings.jobs, stores.jobs, painting.gateway, settings.traces.begin, fleet.shared.jobs, owing)
        form = BatchLines(settings, painting.pictures, stores.images, stores.addresses)
        lines = persistence.own_blobs(persistence.home / "blobs" / "batches")
        kept = BatchStore(persistence.database, lines, on_end=[tell_of_batch], listener=observers.listeners)
        batches = Batches(
            kept,
            stores.files,
            tasks,
            form,
            settings.batches,
            settings.files.batch_keep_seconds,
            fleet.shared.batches,
            owing,
        )
        timeout_seconds = settings.webhooks.timeout_seconds
        webhooks = WebhookSender(
            persistence.database, stores.webhooks, painting.egress, observers.listeners, timeout_seconds=timeout_seconds
        )
        if fleet.orders is not None:
            fleet.orders.follow(WEBHOOK_SIGNING, stores.webhooks.take_secret)
        return cls(tasks, batches, webhooks, Arms(observers.feedback, fleet.questions))


def all_remembered(
    settings: Settings, observers: Observers, fleet: Fleet, accounts: Accounts, stores: Stores, work: Work
) -> Remembered:
    """All stores of tenants' data, and those whose data only expires or is deleted by hand. Erasure follows this order:
    stores that create data in others come first."""
    lines = AuditLines(chain_in(settings))
    kept = (
        work.batches,
        work.tasks,
        observers.texts,
        stores.files,
        stores.images,
        stores.results,
        stores.replies,
        accounts.usage,
        stores.webhooks,
        stores.reviews,
        observers.feedback,
        JobTexts(stores.jobs),
        lines,
    )
    about = kept, _lasting(lines, accounts.keys), settings.retention, observers.listeners
    if fleet.orders is None or fleet.questions is None:
        return Remembered(*about)
    elsewhere = work.batches.erase_elsewhere, work.tasks.erase_elsewhere
    return FleetRemembered(*about, fleet.orders, fleet.questions, elsewhere)


def _lasting(lines: AuditLines, keys: KeyStore) -> tuple[Lasting, ...]:
    return Lasting("audit", REASON, lines.exported), Lasting("keys", KEYS_STAY, keys.exported)
