"""Takes the services, gives the rows of the route table about the server itself."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import files, health, metrics, openapi, settings, status
from sdxl_gateway.api.http.route import Access, Route
from sdxl_gateway.api.services import Services


def server_rows(services: Services) -> tuple[Route, ...]:
    """How it is, what it has to show, and what it can be asked."""
    return (
        Route(
            "GET",
            ("/files/{name}",),
            files.file_endpoint(services),
            label="files",
            summary="A kept picture, by the signed address a reply gave.",
            description=files.RETRIEVE_FILE,
            access=Access.OPEN,
        ),
        Route(
            "GET",
            ("/healthz",),
            health.healthz,
            label="healthz",
            summary="Whether the process runs.",
            description=health.HEALTHZ,
            access=Access.OPEN,
        ),
        Route(
            "GET",
            ("/readyz",),
            health.readyz_endpoint(services),
            label="readyz",
            summary="Whether the server can paint.",
            description=health.READYZ,
            access=Access.OPEN,
        ),
        Route(
            "GET",
            ("/metrics",),
            metrics.metrics_endpoint(services),
            label="metrics",
            summary="Metrics for Prometheus.",
            description=metrics.METRICS,
            access=Access.METRICS if services.settings.auth.protect_metrics else Access.OPEN,
        ),
        Route(
            "GET",
            ("/v1/admin/status",),
            status.status_endpoint(services),
            label="admin.status",
            summary="The server's status: engines, queue, warm blends, memory.",
            description=status.GET_STATUS,
            access=Access.ADMIN,
        ),
        Route(
            "GET",
            ("/v1/admin/settings",),
            settings.settings_endpoint(services),
            label="admin.settings",
            summary="The settings in force, secrets masked, and when a change of each applies.",
            description=settings.LIST_SETTINGS,
            access=Access.ADMIN,
        ),
        Route(
            "GET",
            ("/openapi.json",),
            openapi.document,
            label="openapi.json",
            summary="This document.",
            description=openapi.DOCUMENT,
            access=Access.OPEN,
        ),
    )
