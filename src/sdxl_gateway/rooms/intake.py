"""What turns a request into a recipe: names, decoding of uploads, rollouts; and the library that lists them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from sdxl_gateway.admission.configured_names import check_default, check_rollouts
from sdxl_gateway.admission.model_names import ModelResolver
from sdxl_gateway.admission.resolve import Admission
from sdxl_gateway.config import DEMO_MATTE, Settings
from sdxl_gateway.core.listeners import Listener
from sdxl_gateway.core.ports import Matte
from sdxl_gateway.decoding.pool import Decoders
from sdxl_gateway.gateway.library import ModelLibrary
from sdxl_gateway.matting.open import open_matte
from sdxl_gateway.rooms.catalogs import Catalogs
from sdxl_gateway.storage.database import Database
from sdxl_gateway.storage.rollouts import RolloutStore


@dataclass(frozen=True, slots=True)
class Intake:
    """Knows every name that a request may use."""

    decoders: Decoders
    matte: Matte | None
    rollouts: RolloutStore
    admission: Admission
    library: ModelLibrary

    @classmethod
    def open(cls, settings: Settings, catalogs: Catalogs, database: Database, tell: Listener) -> Self:
        """`tell` is told of decoders and mattes. Raises CheckpointProblem for a configured name that does not exist."""
        checkpoints, adapters = catalogs.checkpoints, catalogs.adapters
        embeddings, beside = catalogs.embeddings, catalogs.beside
        decoders = Decoders(settings.limits, tell)
        matte = open_matte(settings.matting, DEMO_MATTE, tell)
        rollouts = RolloutStore(database)
        admission = Admission(settings, checkpoints, adapters, decoders, embeddings, beside, matte, rollouts.shares)
        library = ModelLibrary(settings, checkpoints, adapters, admission.names, embeddings, beside.controls)
        check_default(admission.names)
        check_rollouts(admission.names, adapters)
        return cls(decoders, matte, rollouts, admission, library)

    def with_settings(self, settings: Settings, catalogs: Catalogs) -> Intake:
        """The same with other settings; the decoding processes are kept."""
        names = ModelResolver(settings, catalogs.checkpoints, catalogs.adapters, over=self.rollouts.shares)
        return replace(
            self,
            admission=self.admission.with_settings(settings, names),
            library=self.library.with_settings(settings, names),
        )
