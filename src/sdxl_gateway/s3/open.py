"""Opens what stores data: in the configured bucket, or in the data directory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sdxl_gateway.catalog.checkpoint_folder.catalog import CheckpointCatalog
from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.config import S3, Cluster, EngineProcess, Settings
from sdxl_gateway.core.errors import StartProblem
from sdxl_gateway.core.listeners import EngineListener, Listener, Listeners
from sdxl_gateway.core.ports import Backend
from sdxl_gateway.storage.places import DataDirectory, Places

if TYPE_CHECKING:
    from sdxl_gateway.s3.bucket import Bucket


def open_bucket(section: S3) -> Bucket | None:
    """The bucket; None if none is configured.

    Raises StartProblem if it cannot be used; if it does not answer yet, that is only logged.
    """
    if not section.bucket:
        return None
    try:
        from sdxl_gateway.s3.bucket import Bucket
    except ImportError as problem:
        raise StartProblem("s3.bucket: needs the extra: pip install 'sdxl-gateway[s3]'") from problem
    bucket = Bucket(section)
    bucket.check()
    return bucket


def open_places(bucket: Bucket | None, home: Path, section: S3) -> Places:
    """The places in the bucket, or else below `home`."""
    if bucket is None:
        return DataDirectory(home)
    from sdxl_gateway.s3.places import BucketPlaces

    return BucketPlaces(bucket, home, presign=section.presign)


def open_loras(bucket: Bucket | None, settings: Settings, checkpoints: Iterable[CheckpointEntry]) -> LoraCatalog:
    """The LoRA folder, shared if there is a bucket."""
    if bucket is None:
        return LoraCatalog(settings.loras, settings.data_directory, settings.demo_loras, checkpoints)
    from sdxl_gateway.s3.lora_catalog import SharedLoraCatalog

    return SharedLoraCatalog(bucket, settings, checkpoints)


def open_checkpoint_catalog(
    bucket: Bucket | None, settings: Settings, configured: Mapping[str, CheckpointEntry]
) -> CheckpointCatalog:
    """The checkpoints of the settings and the folder, and shared ones if there is a bucket."""
    if bucket is None:
        return CheckpointCatalog(configured, settings.checkpoint_folder)
    from sdxl_gateway.s3.checkpoint_catalog import SharedCheckpointCatalog
    from sdxl_gateway.s3.checkpoint_registry import CheckpointRegistry

    return SharedCheckpointCatalog(CheckpointRegistry(bucket), settings, configured)


def fetching(
    backend: Backend, checkpoints: CheckpointCatalog, process: EngineProcess, cluster: Cluster, listener: Listener
) -> Backend:
    """The backend; if checkpoints are shared, its jobs wait until theirs are on the machine that paints them."""
    if type(checkpoints) is CheckpointCatalog:
        return backend
    from sdxl_gateway.s3.checkpoint_catalog import SharedCheckpointCatalog
    from sdxl_gateway.s3.fetches import Fetches
    from sdxl_gateway.s3.fetching_backends import FetchingBackend, ManifestBackend

    assert isinstance(checkpoints, SharedCheckpointCatalog)
    if cluster.kind != "none":
        return ManifestBackend(backend, checkpoints)
    fetches = Fetches(checkpoints.store, checkpoints.mirror, process.engine.load_wait_seconds, listener)
    return FetchingBackend(backend, checkpoints, fetches, process.first_in_folder)


def heard_by(checkpoints: CheckpointCatalog, listener: Listener) -> EngineListener:
    """The listener; if checkpoints are shared, these receive the events too."""
    if type(checkpoints) is CheckpointCatalog:
        return listener
    from sdxl_gateway.s3.checkpoint_catalog import SharedCheckpointCatalog

    assert isinstance(checkpoints, SharedCheckpointCatalog)
    return Listeners(listener, checkpoints.hear)
