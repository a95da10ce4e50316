"""The stores of tenants' data: pictures, results, files, replies, reviews, jobs, webhooks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from sdxl_gateway.config import Settings
from sdxl_gateway.core.ports import Addresses
from sdxl_gateway.delivery.signing import KEY_FILE, Signer
from sdxl_gateway.gateway.fleet.files import FleetFiles
from sdxl_gateway.gateway.fleet.images import FleetImages
from sdxl_gateway.gateway.fleet.results import FleetResults
from sdxl_gateway.gateway.fleet.reviews import FleetReviews
from sdxl_gateway.gateway.result_cache import ResultCache
from sdxl_gateway.rooms.fleet import Fleet
from sdxl_gateway.rooms.observers import Observers
from sdxl_gateway.rooms.persistence import Persistence
from sdxl_gateway.storage.files import FileStore
from sdxl_gateway.storage.idempotency import KeptReplies
from sdxl_gateway.storage.images import KeptImages
from sdxl_gateway.storage.jobs import JobStore
from sdxl_gateway.storage.reviews import ReviewStore
from sdxl_gateway.storage.secret_file import secret_of
from sdxl_gateway.webhooks.job_ends import tell_of_end
from sdxl_gateway.webhooks.store import WebhookStore


@dataclass(frozen=True, slots=True)
class Stores:
    """All are exported, erased and swept in the same way (rooms/work.py)."""

    images: KeptImages
    signer: Signer
    addresses: Addresses
    results: ResultCache
    files: FileStore
    replies: KeptReplies
    reviews: ReviewStore
    jobs: JobStore
    webhooks: WebhookStore

    @classmethod
    def open(cls, settings: Settings, persistence: Persistence, observers: Observers, fleet: Fleet) -> Self:
        """The size of the cache of results becomes a metric."""
        database, seal, listener = persistence.database, persistence.seal, observers.listeners
        signer = Signer(partial(secret_of, settings.delivery.url_key, persistence.home / KEY_FILE))
        results = _results(settings, persistence, fleet)
        observers.metrics.follow_results(lambda: results.held_bytes)
        replies = persistence.own_blobs(settings.data_directory / "replies")
        images = _images(settings, persistence, fleet)
        return cls(
            images=images,
            signer=signer,
            addresses=persistence.places.addresses(signer),
            results=results,
            files=_files(settings, persistence, observers, fleet),
            replies=KeptReplies(database, replies, settings.idempotency, fleet.shared.replies, listener=listener),
            reviews=_reviews(persistence, fleet, images),
            jobs=JobStore(database, persistence.places.blobs("jobs"), seal, on_end=[tell_of_end], listener=listener),
            webhooks=WebhookStore(database, persistence.pepper),
        )


def _images(settings: Settings, persistence: Persistence, fleet: Fleet) -> KeptImages:
    kept = fleet.shared.pictures(persistence.places.pictures()), persistence.database, settings.delivery
    if fleet.shared.deletes is None or fleet.questions is None:
        return KeptImages(*kept)
    return FleetImages(*kept, fleet.shared.deletes, fleet.questions)


def _reviews(persistence: Persistence, fleet: Fleet, images: KeptImages) -> ReviewStore:
    kept = persistence.database, persistence.blobs("reviews"), persistence.seal
    return ReviewStore(*kept) if fleet.questions is None else FleetReviews(*kept, fleet.questions, images)


def _results(settings: Settings, persistence: Persistence, fleet: Fleet) -> ResultCache:
    limits: dict[str, Any] = {"max_bytes": settings.results.max_bytes, "seconds": settings.results.seconds}
    if fleet.shared.results is None:
        return ResultCache(**limits)
    return FleetResults(fleet.shared.results(persistence.places.shared("results")), **limits)


def _files(settings: Settings, persistence: Persistence, observers: Observers, fleet: Fleet) -> FileStore:
    kept = persistence.database, persistence.blobs("files"), settings.files
    if fleet.shared.files is None:
        return FileStore(*kept, listener=observers.listeners)
    return FleetFiles(*kept, fleet.shared.files, listener=observers.listeners)
