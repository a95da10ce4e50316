"""Takes the settings, builds every room; the only file that knows them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from sdxl_gateway.accounts.key_store import KeyStore
from sdxl_gateway.accounts.limits import Limits as CallerLimits
from sdxl_gateway.accounts.meters import LocalMeters
from sdxl_gateway.accounts.pepper import pepper_of
from sdxl_gateway.accounts.usage import Usage
from sdxl_gateway.admission.configured_names import check_default, check_rollouts
from sdxl_gateway.admission.first_checkpoint import engine_process
from sdxl_gateway.admission.model_names import ModelResolver
from sdxl_gateway.admission.resolve import Admission
from sdxl_gateway.admission.rollouts import arms_of
from sdxl_gateway.api.endpoints.batch_lines import BatchLines
from sdxl_gateway.api.http.closing import Closing
from sdxl_gateway.api.http.replaceable import Replaceable
from sdxl_gateway.backends.process.backend import ProcessBackend
from sdxl_gateway.backends.process.each_device import for_each_device
from sdxl_gateway.catalog.checkpoint_folder.catalog import CheckpointCatalog
from sdxl_gateway.catalog.checkpoints import open_checkpoints, with_ip_adapter
from sdxl_gateway.catalog.embedding_folder.catalog import EmbeddingCatalog
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.preview_vae import preview_vae_folder
from sdxl_gateway.catalog.side_models import SideModels
from sdxl_gateway.config import DEMO_MATTE, DEMO_MODEL, EngineProcess, Limits, Settings
from sdxl_gateway.core.background import Background
from sdxl_gateway.core.listeners import EngineListener, Listener, Listeners
from sdxl_gateway.core.ports import Addresses, Backend, Matte, TenantStore
from sdxl_gateway.decoding.pool import Decoders
from sdxl_gateway.delivery.deliver import Deliverer
from sdxl_gateway.delivery.inspect import Inspection
from sdxl_gateway.delivery.signing import KEY_FILE, Signer
from sdxl_gateway.egress.egress import Egress
from sdxl_gateway.gateway.batches import Batches, tell_of_batch
from sdxl_gateway.gateway.job_texts import JobTexts
from sdxl_gateway.gateway.library import ModelLibrary
from sdxl_gateway.gateway.moderations import Moderations
from sdxl_gateway.gateway.named_pictures import NamedPictures
from sdxl_gateway.gateway.paint import Gateway
from sdxl_gateway.gateway.pauses import Pauses
from sdxl_gateway.gateway.picture_sources import named_pictures
from sdxl_gateway.gateway.result_cache import ResultCache
from sdxl_gateway.gateway.status import ServerStatus
from sdxl_gateway.gateway.tasks import Tasks
from sdxl_gateway.matting.open import open_matte
from sdxl_gateway.s3.open import open_bucket, open_loras, open_places
from sdxl_gateway.safety.judges import Judges
from sdxl_gateway.safety.open import open_judges, open_picture_judge
from sdxl_gateway.shared.open import Shared, open_shared
from sdxl_gateway.storage.audit_texts import AuditTexts
from sdxl_gateway.storage.batches import BatchStore
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.database import Database
from sdxl_gateway.storage.feedback import FeedbackStore
from sdxl_gateway.storage.files import FileStore
from sdxl_gateway.storage.idempotency import KeptReplies
from sdxl_gateway.storage.images import KeptImages
from sdxl_gateway.storage.jobs import JobStore
from sdxl_gateway.storage.open_seal import open_seal
from sdxl_gateway.storage.remembered import Lasting, Remembered
from sdxl_gateway.storage.reviews import ReviewStore
from sdxl_gateway.storage.rollouts import RolloutStore
from sdxl_gateway.storage.seal import Seal
from sdxl_gateway.storage.secret_file import secret_of
from sdxl_gateway.telemetry.audit.chain import chain_in
from sdxl_gateway.telemetry.audit.kept import REASON, AuditLines
from sdxl_gateway.telemetry.audit.writer import Audit, audit_of
from sdxl_gateway.telemetry.logs import configure_logs, log_answer, log_engine, log_moderated
from sdxl_gateway.telemetry.metrics import Metrics
from sdxl_gateway.telemetry.traces.listener import TraceListener
from sdxl_gateway.telemetry.traces.open import open_traces
from sdxl_gateway.webhooks.job_ends import tell_of_end
from sdxl_gateway.webhooks.sender import WebhookSender
from sdxl_gateway.webhooks.store import WebhookStore

KEYS_STAY = "Keys are for operators to revoke: DELETE /v1/admin/keys/{id}."
BackendFactory = Callable[[EngineProcess, Limits, EngineListener], Backend]
"""From what an engine has to know, how long the queue may be, and where its events go."""


def process_backend(engine: EngineProcess, limits: Limits, listener: EngineListener) -> Backend:
    """The one a server has where nothing else is asked for: a supervised engine process for each device."""
    engines, tenant_queue_size = for_each_device(engine), limits.tenant_queue_size
    return ProcessBackend(engines, queue_size=limits.queue_size, tenant_queue_size=tenant_queue_size, listener=listener)


@dataclass(frozen=True, slots=True)
class Rooms:
    """Every room, built and not yet running."""

    settings: Settings
    checkpoints: CheckpointCatalog
    adapters: LoraCatalog
    embeddings: EmbeddingCatalog
    admission: Admission
    library: ModelLibrary
    images: KeptImages
    results: ResultCache
    signer: Signer
    addresses: Addresses
    metrics: Metrics
    listeners: Listeners
    backend: Backend
    decoders: Decoders
    matte: Matte | None
    judges: Judges
    moderations: Moderations
    gateway: Gateway
    background: Background
    database: Database
    keys: KeyStore
    egress: Egress
    audit: Audit | None
    traces: TraceListener | None
    seal: Seal
    shared: Shared
    usage: Usage
    limits: CallerLimits
    files: FileStore
    replies: KeptReplies
    reviews: ReviewStore
    feedback: FeedbackStore
    rollouts: RolloutStore
    remembered: Remembered
    pauses: Pauses
    status: ServerStatus
    webhooks: WebhookSender
    tasks: Tasks
    pictures: NamedPictures
    batches: Batches
    closing: Closing = field(default_factory=Closing)
    front: Replaceable = field(default_factory=Replaceable)


def build_rooms(
    settings: Settings,
    open_backend: BackendFactory = process_backend,
    scratch: Path | None = None,
    told: Iterable[Listener] = (),
) -> Rooms:
    """What is remembered lies in the data directory, or in `scratch` if that is given; `told` hear all too."""
    configure_logs(settings.telemetry)
    configured = with_ip_adapter(open_checkpoints(settings.checkpoints, DEMO_MODEL), settings.ip_adapter)
    checkpoints = CheckpointCatalog(configured, settings.checkpoint_folder)
    checkpoints.scan()
    bucket = open_bucket(settings.s3) if scratch is None else None
    adapters = open_loras(bucket, settings, checkpoints.values())
    adapters.scan()
    embeddings = EmbeddingCatalog(settings.embeddings, settings.data_directory, checkpoints.values())
    embeddings.scan()
    labels = settings.telemetry
    metrics = Metrics(settings.model_names, labels.lora_label_limit, checkpoints, labels.checkpoint_label_limit)
    metrics.know_arms(arms_of(settings))
    decoders = Decoders(settings.limits, metrics.on_event)
    preview_vae_folder(settings.engine.preview_vae)  # what the engine could not load stops the start
    beside = SideModels.open(settings, checkpoints.guide_by, checkpoints.take)
    matte = open_matte(settings.matting, DEMO_MATTE, metrics.on_event)
    home = scratch or settings.data_directory
    database = Database(home)
    rollouts = RolloutStore(database)
    admission = Admission(settings, checkpoints, adapters, decoders, embeddings, beside, matte, rollouts.shares)
    library = ModelLibrary(settings, checkpoints, adapters, admission.names, embeddings, beside.controls)
    check_default(admission.names)
    check_rollouts(admission.names, adapters)
    seal = open_seal(settings.encryption.secrets, settings.data_directory)
    places = open_places(bucket, home, settings.s3)
    texts = AuditTexts(database, seal)
    audit = audit_of(settings, texts.keep)
    feedback = FeedbackStore(database, seal)
    pauses, status = Pauses(settings.guard.unready_seconds), ServerStatus()
    noted = metrics.on_event, library.on_event, feedback.on_event, pauses.on_event, status.on_event
    traces = open_traces(settings.traces)
    wanted = (one.on_event for one in (audit, traces) if one is not None)
    listeners = Listeners(*noted, log_answer, log_engine, log_moderated, *wanted, *told)
    backend = open_backend(engine_process(settings, admission.names), settings.limits, listeners)
    metrics.follow_line(backend, lambda: backend.ready)
    images = KeptImages(places.pictures(), database, settings.delivery)
    results = ResultCache(max_bytes=settings.results.max_bytes, seconds=settings.results.seconds)
    metrics.follow_results(lambda: results.held_bytes)
    egress = Egress(settings.egress.private_hosts)
    if audit is not None:
        metrics.audit.health = lambda: audit.health
    meters, usage, pepper = LocalMeters(), Usage(database), partial(pepper_of, settings.auth.pepper, home)
    shared = open_shared(settings, home, meters, seal, listeners)
    limits = CallerLimits(settings, shared.meters, usage)
    judges = open_judges(settings, egress, open_picture_judge(settings.safety), metrics.on_event)
    reviews = ReviewStore(database, seal.over(places.blobs("reviews")), seal)
    inspection = Inspection(judges, listeners, reviews)
    deliverer = _deliverer(settings, images, matte, inspection, listeners)
    gateway = Gateway(settings, admission, backend, deliverer, listeners, egress, limits, results, judges)
    webhooks = WebhookStore(database, pepper)
    keys = KeyStore(database, pepper, exchange=shared.keys)
    files = FileStore(database, seal.over(places.blobs("files")), settings.files, listener=listeners)
    pictures = named_pictures(settings, files, egress, listeners)
    signer = Signer(partial(secret_of, settings.delivery.url_key, home / KEY_FILE))
    addresses = places.addresses(signer)
    blobs = seal.over(BlobFolder(settings.data_directory / "replies"))
    replies = KeptReplies(database, blobs, settings.idempotency, shared.replies, listener=listeners)
    jobs = JobStore(database, places.blobs("jobs"), seal, on_end=[tell_of_end], listener=listeners)
    tasks = Tasks(settings.jobs, jobs, gateway, settings.traces.begin)
    form = BatchLines(settings, pictures, images, addresses)
    lines = seal.over(BlobFolder(home / "blobs" / "batches"))
    store = BatchStore(database, lines, on_end=[tell_of_batch], listener=listeners)
    batches = Batches(store, files, tasks, form, settings.batches, settings.files.batch_keep_seconds)
    stores = (texts, files, images, results, replies, usage, webhooks, reviews, feedback, JobTexts(jobs), tasks)
    return Rooms(
        settings,
        checkpoints,
        adapters,
        embeddings,
        admission,
        library,
        images,
        results,
        signer,
        addresses,
        metrics,
        listeners,
        backend,
        decoders,
        matte,
        judges,
        Moderations(judges, admission.uploads),
        gateway,
        Background(listeners),
        database,
        keys,
        egress,
        audit,
        traces,
        seal,
        shared,
        usage,
        limits,
        files,
        replies,
        reviews,
        feedback,
        rollouts,
        _remembered(settings, keys, (*stores, batches), listeners),
        pauses,
        status,
        WebhookSender(database, webhooks, egress, listeners, timeout_seconds=settings.webhooks.timeout_seconds),
        tasks,
        pictures,
        batches,
    )


def _remembered(settings: Settings, keys: KeyStore, stores: Sequence[TenantStore], listeners: Listeners) -> Remembered:
    """All of `stores`, and what only goes in time or by hand."""
    lines = AuditLines(chain_in(settings))
    lasting = Lasting("audit", REASON, lines.exported), Lasting("keys", KEYS_STAY, keys.exported)
    return Remembered((*stores, lines), lasting, settings.retention, listeners)


def _deliverer(
    settings: Settings, images: KeptImages, matte: Matte | None, inspection: Inspection, listener: Listener
) -> Deliverer:
    embed = settings.delivery.embed_recipe
    return Deliverer(images, embed_recipe=embed, matte=matte, inspection=inspection, listener=listener)


def under(built: Rooms, settings: Settings) -> Rooms:
    """The rooms that follow settings built anew; what holds sockets, engines, folders or memories stays as it is."""
    names = ModelResolver(settings, built.checkpoints, built.adapters, over=built.rollouts.shares)
    admission = built.admission.under(settings, names)
    limits = built.limits.under(settings)
    judges = open_judges(settings, built.egress, built.judges.pictures, built.metrics.on_event)
    inspection = Inspection(judges, built.listeners, built.reviews)
    deliverer = _deliverer(settings, built.images, built.matte, inspection, built.listeners)
    return replace(
        built,
        settings=settings,
        admission=admission,
        library=built.library.under(settings, names),
        pictures=named_pictures(settings, built.files, built.egress, built.listeners),
        limits=limits,
        judges=judges,
        moderations=built.moderations.under(judges, admission.uploads),
        gateway=built.gateway.under(settings, admission, deliverer, limits, judges),
    )
