"""THE TABLES of the database, as the steps that made them; a step that has shipped is never edited."""

from __future__ import annotations

from sdxl_gateway.storage.fleet_steps import ORDERS, SHARED_BATCHES, SHARED_JOBS
from sdxl_gateway.storage.rollout_steps import FEEDBACK, ROLLOUTS

KEYS = """
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    name TEXT NOT NULL,
    tenant TEXT NOT NULL,
    roles TEXT NOT NULL,
    models TEXT NOT NULL,
    loras TEXT NOT NULL,
    priority TEXT NOT NULL,
    created REAL NOT NULL,
    expires REAL,
    revoked REAL,
    successor TEXT REFERENCES keys (id)
) STRICT;
CREATE INDEX keys_by_tenant ON keys (tenant, created)
"""
"""Times are unix seconds; roles and globs are JSON lists; `successor` is the key an old one was rotated to."""

AUDIT_TEXTS = """
CREATE TABLE audit_texts (
    job TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    at REAL NOT NULL,
    texts TEXT NOT NULL
) STRICT;
CREATE INDEX audit_texts_by_tenant ON audit_texts (tenant, at);
CREATE INDEX audit_texts_by_time ON audit_texts (at)
"""
"""What jobs were asked to paint, as JSON, sealed or not; kept while `audit.prompts` says so."""

LIMITS = """
ALTER TABLE keys ADD COLUMN limits TEXT;
CREATE TABLE usage (
    day TEXT NOT NULL,
    tenant TEXT NOT NULL,
    key_id TEXT NOT NULL,
    requests INTEGER NOT NULL,
    images INTEGER NOT NULL,
    pixel_steps INTEGER NOT NULL,
    PRIMARY KEY (day, tenant, key_id)
) STRICT, WITHOUT ROWID
"""
"""A key's limits are a JSON object of those it has; days are UTC's, `key_id` is empty without a key of the store."""

FILES = """
CREATE TABLE files (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    purpose TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    created REAL NOT NULL,
    expires REAL,
    blob TEXT NOT NULL UNIQUE
) STRICT;
CREATE INDEX files_by_tenant ON files (tenant, created, id);
CREATE INDEX files_by_expiry ON files (expires)
"""

IDEMPOTENCY = """
CREATE TABLE idempotency (
    tenant TEXT NOT NULL,
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    status INTEGER NOT NULL,
    headers TEXT NOT NULL,
    blob TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (tenant, route, key)
) STRICT;
CREATE INDEX idempotency_by_time ON idempotency (at)
"""
"""Replies under the keys of who asked; a body lies in a blob, and headers are a JSON object."""

KEY_SAFETY = "ALTER TABLE keys ADD COLUMN safety TEXT"
"""A policy, NULL for the server's own."""

IMAGES = """
CREATE TABLE images (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    ext TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    created REAL NOT NULL,
    expires REAL NOT NULL
) STRICT;
CREATE INDEX images_by_tenant ON images (tenant, created, id);
CREATE INDEX images_by_age ON images (created);
CREATE INDEX images_by_expiry ON images (expires);
CREATE TABLE image_bytes (
    tenant TEXT PRIMARY KEY,
    size_bytes INTEGER NOT NULL
) STRICT
"""
"""`image_bytes` is what each tenant's pictures take, so that nobody has to add up a million of them."""

WEBHOOKS = """
ALTER TABLE keys ADD COLUMN webhook_url TEXT;
CREATE TABLE webhook_deliveries (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    url TEXT NOT NULL,
    host TEXT NOT NULL,
    event TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    created REAL NOT NULL,
    asked REAL NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    due REAL,
    attempted REAL,
    status INTEGER,
    problem TEXT,
    leased REAL
) STRICT;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (due) WHERE due IS NOT NULL;
CREATE INDEX webhook_deliveries_by_tenant ON webhook_deliveries (tenant, created, id);
CREATE TABLE webhook_disabled (
    tenant TEXT NOT NULL,
    url TEXT NOT NULL,
    PRIMARY KEY (tenant, url)
) STRICT;
CREATE TABLE webhook_secrets (
    tenant TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    previous_until REAL NOT NULL
) STRICT
"""
"""As core/webhook.py says; `leased` is until when an attempt may be under way. Of secrets only their number is kept."""

REVIEWS = """
CREATE TABLE reviews (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    key_id TEXT NOT NULL,
    job TEXT NOT NULL,
    created REAL NOT NULL,
    categories TEXT NOT NULL,
    prompt TEXT NOT NULL,
    ext TEXT NOT NULL,
    blob TEXT NOT NULL,
    image TEXT,
    state TEXT NOT NULL,
    decided REAL,
    note TEXT NOT NULL,
    appeal TEXT NOT NULL,
    appealed REAL
) STRICT;
CREATE INDEX reviews_by_tenant ON reviews (tenant, created, id);
CREATE INDEX reviews_by_time ON reviews (created, id)
"""
"""Pictures that left although something was found; prompt and appeal are JSON, sealed or not."""

JOBS = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    caller TEXT NOT NULL,
    operation TEXT NOT NULL,
    model TEXT NOT NULL,
    priority INTEGER NOT NULL,
    ask TEXT NOT NULL,
    created REAL NOT NULL,
    uploads TEXT,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    started REAL,
    finished REAL,
    error TEXT,
    result TEXT,
    batch TEXT,
    custom_id TEXT,
    webhook_url TEXT
) STRICT;
CREATE INDEX jobs_queued ON jobs (priority, tenant, number) WHERE state = 'queued';
CREATE INDEX jobs_unfinished ON jobs (tenant) WHERE state IN ('queued', 'in_progress');
CREATE INDEX jobs_in_progress ON jobs (number) WHERE state = 'in_progress';
CREATE INDEX jobs_by_tenant ON jobs (tenant, number);
CREATE INDEX jobs_by_batch ON jobs (batch, number) WHERE batch IS NOT NULL;
CREATE INDEX jobs_with_uploads ON jobs (uploads) WHERE uploads IS NOT NULL;
CREATE INDEX jobs_finished ON jobs (finished) WHERE finished IS NOT NULL
"""
"""As core/stored_job.py says; `number` is the order of arrival, and no number is given twice."""

BATCHES = """
CREATE TABLE batches (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    caller TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    input_file TEXT NOT NULL,
    base_url TEXT NOT NULL,
    created REAL NOT NULL,
    expires REAL NOT NULL,
    file_seconds REAL NOT NULL,
    metadata TEXT NOT NULL,
    state TEXT NOT NULL,
    times TEXT NOT NULL,
    model TEXT,
    lines TEXT,
    total INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    output_bytes INTEGER NOT NULL,
    errors TEXT NOT NULL,
    output_file TEXT,
    error_file TEXT
) STRICT;
CREATE INDEX batches_by_tenant ON batches (tenant, created, id);
CREATE INDEX batches_by_state ON batches (state, created);
CREATE TABLE batch_outputs (
    batch TEXT NOT NULL,
    line INTEGER NOT NULL,
    custom_id TEXT NOT NULL,
    failed INTEGER NOT NULL,
    blob TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (batch, line)
) STRICT, WITHOUT ROWID
"""
"""Answers stand in `batch_outputs` until the batch is over; then they are files."""

JOB_TEXTS = """
ALTER TABLE jobs ADD COLUMN texts_gone INTEGER NOT NULL DEFAULT 0;
CREATE INDEX jobs_with_texts ON jobs (finished) WHERE finished IS NOT NULL AND texts_gone = 0
"""
"""What a job was asked in words may go sooner than what became of it."""

TRACES = """
ALTER TABLE jobs ADD COLUMN trace TEXT;
ALTER TABLE webhook_deliveries ADD COLUMN trace TEXT
"""
"""As `traceparent` says it, NULL where nothing is traced."""

KEY_CHANGES = "ALTER TABLE keys ADD COLUMN changed REAL NOT NULL DEFAULT 0"
"""When a key was changed last; of two gateways' words on it the later counts."""

BATCHES_BY_TIME = "CREATE INDEX batches_by_time ON batches (created, id)"
"""Operators read those of all tenants."""

JOB_KEYS = """
ALTER TABLE jobs ADD COLUMN idempotency_key TEXT;
ALTER TABLE jobs ADD COLUMN fingerprint TEXT;
CREATE INDEX jobs_by_key ON jobs (idempotency_key, number) WHERE idempotency_key IS NOT NULL
"""
"""Digests of the key that a job was asked for under, and of what was asked."""

MIGRATIONS: tuple[str, ...] = (
    KEYS,
    AUDIT_TEXTS,
    LIMITS,
    FILES,
    IDEMPOTENCY,
    KEY_SAFETY,
    IMAGES,
    WEBHOOKS,
    REVIEWS,
    JOBS,
    BATCHES,
    JOB_TEXTS,
    TRACES,
    KEY_CHANGES,
    FEEDBACK,
    ROLLOUTS,
    BATCHES_BY_TIME,
    SHARED_JOBS,
    ORDERS,
    SHARED_BATCHES,
    JOB_KEYS,
)
"""The database's `user_version` is the number of steps that it has been through."""
