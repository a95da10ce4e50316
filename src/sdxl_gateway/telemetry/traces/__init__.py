"""Traces: the spans of each request, for OpenTelemetry."""
