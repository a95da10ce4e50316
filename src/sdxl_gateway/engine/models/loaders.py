"""Takes a name, gives a model of one kind on the device: the protocol of loaders, and the loader of checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol, TypeVar

import torch

from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.core.events import ModelLoaded
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.engine.lora.apply import BlendSwitcher
from sdxl_gateway.engine.lora.cache import DISK
from sdxl_gateway.engine.lora.fused import merge_kernel
from sdxl_gateway.engine.lora.layers import PristineHome
from sdxl_gateway.engine.memory.budgets import WEIGHTS_HOST
from sdxl_gateway.engine.memory.ledger import HOST, Ledger
from sdxl_gateway.engine.models.adapters import AdapterCaches
from sdxl_gateway.engine.models.checkpoint import Checkpoint, Source, load_checkpoint
from sdxl_gateway.engine.models.host_copies import HostCopies
from sdxl_gateway.engine.models.placement import Placement
from sdxl_gateway.engine.models.sources import Sources
from sdxl_gateway.engine.timing import Timings
from sdxl_gateway.scheduling.weight_sizes import counted_bytes

ModelT = TypeVar("ModelT")
T = TypeVar("T")

CHECKPOINT = "checkpoint"


class Loader(Protocol[ModelT]):
    """Loads one kind of model. `cost_bytes` and `load` run on the pool's loading thread, while pictures are painted."""

    @property
    def names(self) -> tuple[str, ...]:
        """All models of this kind, loaded or not."""

    def wanted_by(self, recipe: Recipe) -> Iterable[str]:
        """The names of those that a recipe needs."""

    def cost_bytes(self, name: str) -> int:
        """The device memory that the model will take, known before it is loaded. Raises ModelNotFound."""

    def load(self, name: str) -> ModelT:
        """The model, on the device."""

    def unload(self, model: ModelT) -> None:
        """Free an evicted model, and drop its further entries in the ledger."""


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """A checkpoint on the device, with the switcher that puts blends on it."""

    checkpoint: Checkpoint
    switcher: BlendSwitcher


class Denoisers(Protocol):
    """Gives checkpoints their denoisers (engine/compile.py)."""

    def attach(self, checkpoint: Checkpoint) -> Checkpoint:
        """The checkpoint with its UNet and VAE called in the fastest way."""

    def detach(self, checkpoint: Checkpoint) -> None:
        """The checkpoint is leaving the device."""


@dataclass(frozen=True, slots=True)
class CheckpointLoader:
    """Loads checkpoints in `dtype`, from `copies` in host memory if they are there, else from disk."""

    sources: Sources
    placement: Placement
    dtype: torch.dtype
    adapters: AdapterCaches
    ledger: Ledger
    measure: Measure
    timings: Timings
    pristine: PristineHome
    denoisers: Denoisers
    copies: HostCopies
    _costs_bytes: dict[str, int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The configured ones; those of the folder are known only by the recipes that name them."""
        return self.sources.configured

    def wanted_by(self, recipe: Recipe) -> list[str]:
        """The checkpoints of its phases."""
        return self.sources.names_of(recipe.phases)

    def cost_bytes(self, name: str) -> int:
        """By the headers of its files. Raises ModelNotFound, Unavailable, CheckpointProblem."""
        if name not in self._costs_bytes or not self.copies.has(name):
            self._costs_bytes[name] = self._by_files(name, self._counted_bytes)
        return self._costs_bytes[name]

    def _counted_bytes(self, source: Source) -> int:
        sizes, number_bytes = source.sizes(), self.dtype.itemsize
        return counted_bytes(sizes, self.placement.mode, self.placement.formats, number_bytes)

    def load(self, name: str) -> LoadedCheckpoint:
        """From host memory, else from disk, keeping a copy in host memory. Raises as `cost_bytes`."""
        start, kept = perf_counter(), self.copies.get(name)
        checkpoint = self._read(name) if kept is None else kept
        source, seconds = DISK if kept is None else HOST, perf_counter() - start
        self.measure(ModelLoaded(CHECKPOINT, source, seconds, checkpoint.size_bytes()))
        return self.blendable(checkpoint)

    def _by_files(self, name: str, work: Callable[[Source], T]) -> T:
        """The result of `work`; if files were removed or replaced meanwhile, the error says so (Unavailable)."""
        try:
            return work(self.sources.of(name))
        except (CheckpointProblem, OSError):
            self.sources.of(name)
            raise

    def _read(self, name: str) -> Checkpoint:
        checkpoint = self._by_files(name, lambda source: load_checkpoint(source, self.placement, self.dtype))
        self.sources.of(name)  # raises where the files changed while they were read
        self.copies.keep(checkpoint)
        return checkpoint

    def blendable(self, checkpoint: Checkpoint) -> LoadedCheckpoint:
        """A loaded checkpoint with its switcher and denoiser."""
        switcher = BlendSwitcher(
            checkpoint.blendable(),
            self.adapters.of(checkpoint.name),
            self.ledger,
            self.timings,
            name=checkpoint.name,
            pristine=self.pristine,
            device=self.placement.device,
            kernel=merge_kernel(self.placement.device, self.dtype),
        )
        self.ledger.hold(WEIGHTS_HOST, (CHECKPOINT, checkpoint.name), checkpoint.host_bytes())
        return LoadedCheckpoint(self.denoisers.attach(checkpoint), switcher)

    def unload(self, model: LoadedCheckpoint) -> None:
        """Also frees its pristine copies and its offloaded weights."""
        self.denoisers.detach(model.checkpoint)
        model.switcher.close()
        self.ledger.drop(WEIGHTS_HOST, (CHECKPOINT, model.checkpoint.name))
        self.copies.release(model.checkpoint)
