"""Webhooks about the ends of jobs and batches: signed, retried for three days, and stored."""
