"""Listeners on the events: metrics for Prometheus, lines for the log, the audit log, traces."""
