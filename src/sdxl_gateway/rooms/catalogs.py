"""The catalogues of what pictures are painted with: checkpoints, LoRAs, embeddings, and further models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from sdxl_gateway.catalog.checkpoint_folder.catalog import CheckpointCatalog
from sdxl_gateway.catalog.checkpoints import open_checkpoints, with_ip_adapter
from sdxl_gateway.catalog.embedding_folder.catalog import EmbeddingCatalog
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.preview_vae import preview_vae_folder
from sdxl_gateway.catalog.side_models import SideModels
from sdxl_gateway.config import DEMO_MODEL, Settings
from sdxl_gateway.core.errors import StartProblem
from sdxl_gateway.s3.open import open_checkpoint_catalog, open_loras

if TYPE_CHECKING:
    from sdxl_gateway.s3.bucket import Bucket


@dataclass(frozen=True, slots=True)
class Catalogs:
    """Each has been scanned once."""

    checkpoints: CheckpointCatalog
    adapters: LoraCatalog
    embeddings: EmbeddingCatalog
    beside: SideModels

    @classmethod
    def open(cls, settings: Settings, bucket: Bucket | None) -> Self:
        """Raises CheckpointProblem for models that an engine could not load; StartProblem where a folder is a file."""
        _refuse_files(settings)
        configured = with_ip_adapter(open_checkpoints(settings.checkpoints, DEMO_MODEL), settings.ip_adapter)
        checkpoints = open_checkpoint_catalog(bucket, settings, configured)
        checkpoints.scan()
        adapters = open_loras(bucket, settings, checkpoints.values())
        adapters.scan()
        embeddings = EmbeddingCatalog(settings.embeddings, settings.data_directory, checkpoints.values())
        embeddings.scan()
        preview_vae_folder(settings.engine.preview_vae)
        return cls(checkpoints, adapters, embeddings, SideModels.open(settings, checkpoints.guide_by, checkpoints.take))


def _refuse_files(settings: Settings) -> None:
    """A folder that is not there yet is waited for; where a file lies none will come."""
    directories = {
        "checkpoint_folder": settings.checkpoint_folder.directory,
        "loras": settings.loras.directory,
        "embeddings": settings.embeddings.directory,
    }
    for section, directory in directories.items():
        if directory.is_file():
            raise StartProblem(f"{section}.directory: {directory} is a file, not a folder.")
