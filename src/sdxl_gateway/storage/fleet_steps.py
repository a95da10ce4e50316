"""What gateways that share remember, as steps of storage/migrations.py; one that has shipped is never edited."""

from __future__ import annotations

SHARED_JOBS = """
ALTER TABLE jobs ADD COLUMN token INTEGER NOT NULL DEFAULT 1;
ALTER TABLE jobs ADD COLUMN untold INTEGER NOT NULL DEFAULT 1;
CREATE INDEX jobs_untold ON jobs (number) WHERE untold > 0;
DROP INDEX jobs_by_tenant;
CREATE INDEX jobs_by_tenant ON jobs (tenant, created, id);
CREATE INDEX jobs_by_age ON jobs (created, id)
"""
"""`untold` counts the changes of a job that other gateways have not heard of yet, see storage/job_outbox.py."""

ORDERS = """
CREATE TABLE fleet (joined REAL NOT NULL) STRICT;
CREATE TABLE orders (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    given_by TEXT NOT NULL,
    at REAL NOT NULL,
    value TEXT NOT NULL,
    outcome TEXT,
    told INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID
"""
"""What every gateway is to do, and what came of it at this one: JSON, NULL where it is still to be done."""

SHARED_BATCHES = "ALTER TABLE batches ADD COLUMN token INTEGER NOT NULL DEFAULT 1"
"""As of jobs: which gateway's word counts."""
