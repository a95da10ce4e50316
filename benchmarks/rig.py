"""Takes a folder, gives what every section of a GPU's benchmark is measured with: checkpoint, device and scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.engines import Look, Place
from benchmarks.steps import QUICK, Effort
from sdxl_gateway.admission.defaults import GUIDANCE_SCALE
from sdxl_gateway.config import DEMO_MODEL
from sdxl_gateway.engine.unet.cuda_graphs import CudaRecorder


@dataclass(frozen=True)
class Rig:
    """`folder` is the checkpoint's, `data` keeps LoRAs and compiled code; `lengths` are steps of whole pictures.

    `rank` is that of switched LoRAs, `load_bytes` the size of one that is loaded cold. `patience_seconds` is for what
    is compiled beside pictures.
    """

    folder: Path
    data: Path
    place: Place
    look: Look
    lengths: tuple[int, ...]
    repeats: int
    effort: Effort
    rank: int
    load_bytes: int
    backend: str
    patience_seconds: float

    @property
    def on_gpu(self) -> bool:
        return self.place.device != "cpu"

    @property
    def size(self) -> str:
        return f"{self.look.side}x{self.look.side}"

    @property
    def served(self) -> Place:
        """As a server opens its engine."""
        return replace(self.place, compiled_sizes="auto", cuda_graphs=True)

    def recorder(self) -> CudaRecorder | None:
        return CudaRecorder(torch.device("cuda", 0)) if self.on_gpu else None


def whole(folder: Path, data: Path) -> Rig:
    """A checkpoint of SDXL's size on the first GPU."""
    look = Look(1024, 30, GUIDANCE_SCALE)
    return Rig(folder, data, Place("cuda", "float16"), look, (30, 20), 5, QUICK, 64, 200_000_000, "inductor", 150.0)


def small(data: Path) -> Rig:
    """The demo model on a CPU, with a compiler that changes nothing: to see that everything runs."""
    effort = Effort(rows=(2,), calls=1, steps=(2,), pictures=1, openings=1)
    look, place = Look(64, 3, GUIDANCE_SCALE), Place(threads=1, max_lanes=4)
    return Rig(DEMO_MODEL, data, place, look, (5, 4), 1, effort, 2, 100_000, "eager", 1.0)
