"""The tables of rollouts and of feedback, as steps of storage/migrations.py; one that has shipped is never edited."""

from __future__ import annotations

FEEDBACK = """
CREATE TABLE arm_images (
    image TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    rollout TEXT NOT NULL,
    arm TEXT NOT NULL,
    created REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX arm_images_by_tenant ON arm_images (tenant);
CREATE INDEX arm_images_by_time ON arm_images (created);
CREATE TABLE arm_days (
    day TEXT NOT NULL,
    rollout TEXT NOT NULL,
    arm TEXT NOT NULL,
    outcome TEXT NOT NULL,
    bin INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    pictures INTEGER NOT NULL,
    PRIMARY KEY (day, rollout, arm, outcome, bin)
) STRICT, WITHOUT ROWID;
CREATE TABLE feedback (
    image TEXT NOT NULL,
    tenant TEXT NOT NULL,
    key_id TEXT NOT NULL,
    end_user TEXT NOT NULL,
    rollout TEXT,
    arm TEXT,
    score INTEGER NOT NULL,
    tags TEXT NOT NULL,
    comment TEXT NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (image, key_id, end_user)
) STRICT;
CREATE INDEX feedback_by_tenant ON feedback (tenant, created);
CREATE INDEX feedback_by_time ON feedback (created)
"""
"""Which arm painted a picture, how arms did by day, and what callers say; comments are JSON, sealed or not."""

ROLLOUTS = """
CREATE TABLE rollout_changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    rollout TEXT NOT NULL,
    action TEXT NOT NULL,
    shares TEXT,
    at REAL NOT NULL,
    who TEXT NOT NULL
) STRICT;
CREATE INDEX rollout_changes_by_rollout ON rollout_changes (rollout, id)
"""
"""`shares` are a JSON object, NULL for those of the configuration."""
