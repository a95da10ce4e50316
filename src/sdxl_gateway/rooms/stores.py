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
from sdxl_gateway.rooms.ground import Ground
from sdxl_gateway.rooms.teams import Teams
from sdxl_gateway.rooms.watch import Watch
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
    def open(cls, settings: Settings, ground: Ground, watch: Watch, teams: Teams) -> Self:
        """The size of the cache of results becomes a metric."""
        database, seal, listener = ground.database, ground.seal, watch.listeners
        signer = Signer(partial(secret_of, settings.delivery.url_key, ground.home / KEY_FILE))
        results = _results(settings, ground, teams)
        watch.metrics.follow_results(lambda: results.held_bytes)
        replies = ground.own_blobs(settings.data_directory / "replies")
        images = _images(settings, ground, teams)
        return cls(
            images=images,
            signer=signer,
            addresses=ground.places.addresses(signer),
            results=results,
            files=_files(settings, ground, watch, teams),
            replies=KeptReplies(database, replies, settings.idempotency, teams.shared.replies, listener=listener),
            reviews=_reviews(ground, teams, images),
            jobs=JobStore(database, ground.places.blobs("jobs"), seal, on_end=[tell_of_end], listener=listener),
            webhooks=WebhookStore(database, ground.pepper),
        )


def _images(settings: Settings, ground: Ground, teams: Teams) -> KeptImages:
    kept = teams.shared.pictures(ground.places.pictures()), ground.database, settings.delivery
    if teams.shared.deletes is None or teams.questions is None:
        return KeptImages(*kept)
    return FleetImages(*kept, teams.shared.deletes, teams.questions)


def _reviews(ground: Ground, teams: Teams, images: KeptImages) -> ReviewStore:
    kept = ground.database, ground.blobs("reviews"), ground.seal
    return ReviewStore(*kept) if teams.questions is None else FleetReviews(*kept, teams.questions, images)


def _results(settings: Settings, ground: Ground, teams: Teams) -> ResultCache:
    limits: dict[str, Any] = {"max_bytes": settings.results.max_bytes, "seconds": settings.results.seconds}
    if teams.shared.results is None:
        return ResultCache(**limits)
    return FleetResults(teams.shared.results(ground.places.shared("results")), **limits)


def _files(settings: Settings, ground: Ground, watch: Watch, teams: Teams) -> FileStore:
    kept = ground.database, ground.blobs("files"), settings.files
    if teams.shared.files is None:
        return FileStore(*kept, listener=watch.listeners)
    return FleetFiles(*kept, teams.shared.files, listener=watch.listeners)
