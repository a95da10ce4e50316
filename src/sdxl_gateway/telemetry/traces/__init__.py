"""Traces: what happened to each request, as spans for OpenTelemetry."""
