"""Runs jobs on replicas of a Ray Serve application, for many gateways; ray is known by deployment.py and cluster.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def app(args: Mapping[str, str]) -> Any:
    """The application for `serve run sdxl_gateway.backends.ray:app [config=FILE]`; gateways find its replicas there.

    Raises StartProblem, ConfigProblem.
    """
    from sdxl_gateway.backends.ray.open import with_token
    from sdxl_gateway.config import load_settings

    with_token()
    from sdxl_gateway.backends.ray.deployment import application

    settings = load_settings(Path(args["config"]) if "config" in args else None)
    first = {} if settings.default_model in settings.checkpoints else {"first_in_folder": settings.default_model}
    return application(settings.engine_process().model_copy(update=first), settings.cluster, settings.s3)
