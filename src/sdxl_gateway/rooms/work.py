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
from sdxl_gateway.rooms.ground import Ground
from sdxl_gateway.rooms.painting import Painting
from sdxl_gateway.rooms.stores import Stores
from sdxl_gateway.rooms.teams import Teams
from sdxl_gateway.rooms.watch import Watch
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
        cls, settings: Settings, ground: Ground, watch: Watch, teams: Teams, stores: Stores, painting: Painting
    ) -> Self:
        """Nothing is started yet."""
        owing = nobody if teams.orders is None else teams.orders.owing
        tasks = Tasks(settings.jobs, stores.jobs, painting.gateway, settings.traces.begin, teams.shared.jobs, owing)
        form = BatchLines(settings, painting.pictures, stores.images, stores.addresses)
        lines = ground.own_blobs(ground.home / "blobs" / "batches")
        kept = BatchStore(ground.database, lines, on_end=[tell_of_batch], listener=watch.listeners)
        batches = Batches(
            kept,
            stores.files,
            tasks,
            form,
            settings.batches,
            settings.files.batch_keep_seconds,
            teams.shared.batches,
            owing,
        )
        timeout_seconds = settings.webhooks.timeout_seconds
        webhooks = WebhookSender(
            ground.database, stores.webhooks, painting.egress, watch.listeners, timeout_seconds=timeout_seconds
        )
        if teams.orders is not None:
            teams.orders.follow(WEBHOOK_SIGNING, stores.webhooks.take_secret)
        return cls(tasks, batches, webhooks, Arms(watch.feedback, teams.questions))


def all_remembered(settings: Settings, watch: Watch, teams: Teams, stores: Stores, work: Work) -> Remembered:
    """All stores of tenants' data, and those whose data only expires or is deleted by hand. Erasure follows this order:
    stores that create data in others come first."""
    lines = AuditLines(chain_in(settings))
    kept = (
        work.batches,
        work.tasks,
        watch.texts,
        stores.files,
        stores.images,
        stores.results,
        stores.replies,
        teams.usage,
        stores.webhooks,
        stores.reviews,
        watch.feedback,
        JobTexts(stores.jobs),
        lines,
    )
    about = kept, _lasting(lines, teams.keys), settings.retention, watch.listeners
    if teams.orders is None or teams.questions is None:
        return Remembered(*about)
    elsewhere = work.batches.erase_elsewhere, work.tasks.erase_elsewhere
    return FleetRemembered(*about, teams.orders, teams.questions, elsewhere)


def _lasting(lines: AuditLines, keys: KeyStore) -> tuple[Lasting, ...]:
    return Lasting("audit", REASON, lines.exported), Lasting("keys", KEYS_STAY, keys.exported)
