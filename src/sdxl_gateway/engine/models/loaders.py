"""Takes a name, gives a model of one kind on the device: what the pool asks of a kind, and checkpoints as the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch

from sdxl_gateway.core.errors import ModelNotFound
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.engine.lora.apply import BlendSwitcher
from sdxl_gateway.engine.lora.layers import PristineHome
from sdxl_gateway.engine.memory.ledger import Ledger
from sdxl_gateway.engine.models.adapters import AdapterCaches
from sdxl_gateway.engine.models.checkpoint import Checkpoint, Source, load_checkpoint

ModelT = TypeVar("ModelT")

CHECKPOINT = "checkpoint"


class Loader(Protocol[ModelT]):
    """One kind of model. `cost_bytes` and `load` run on the pool's loading thread, while pictures are painted."""

    @property
    def names(self) -> tuple[str, ...]:
        """The models of this kind."""

    def wanted_by(self, recipe: Recipe) -> Iterable[str]:
        """The names of those a recipe is painted with."""

    def cost_bytes(self, name: str) -> int:
        """What the model will take up on the device, before it is loaded. Raises ModelNotFound."""

    def load(self, name: str) -> ModelT:
        """The model, on the device."""

    def unload(self, model: ModelT) -> None:
        """The model has left: give back what it holds on the ledger besides itself."""


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """A checkpoint on the device with what puts blends on it."""

    checkpoint: Checkpoint
    switcher: BlendSwitcher


@dataclass(frozen=True, slots=True)
class CheckpointLoader:
    """Loads checkpoints in `dtype`; `compiled` gives a checkpoint ready to be called fast."""

    sources: Mapping[str, Source]
    device: torch.device
    dtype: torch.dtype
    adapters: AdapterCaches
    ledger: Ledger
    measure: Measure
    pristine: PristineHome
    compiled: Callable[[Checkpoint], Checkpoint]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.sources)

    def wanted_by(self, recipe: Recipe) -> list[str]:
        """Those of its phases."""
        return list(dict.fromkeys(phase.checkpoint for phase in recipe.phases))

    def cost_bytes(self, name: str) -> int:
        """By the headers of its files. Raises ModelNotFound, CheckpointProblem."""
        return self._source(name).parameters() * self.dtype.itemsize

    def load(self, name: str) -> LoadedCheckpoint:
        """Raises ModelNotFound, CheckpointProblem."""
        return self.blendable(load_checkpoint(self._source(name), self.device, self.dtype))

    def blendable(self, checkpoint: Checkpoint) -> LoadedCheckpoint:
        """The checkpoint, loaded already, as the engine paints with it."""
        switcher = BlendSwitcher(
            checkpoint.blendable(),
            self.adapters.of(checkpoint.name),
            self.ledger,
            self.measure,
            name=checkpoint.name,
            pristine=self.pristine,
        )
        return LoadedCheckpoint(self.compiled(checkpoint), switcher)

    def unload(self, model: LoadedCheckpoint) -> None:
        """Gives the room of its pristine copies back."""
        model.switcher.close()

    def _source(self, name: str) -> Source:
        if name not in self.sources:
            raise ModelNotFound(f"There is no checkpoint '{name[:200]}'.")
        return self.sources[name]
