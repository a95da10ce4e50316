"""Takes an engine process's settings, gives an engine ready to paint, its first checkpoint loaded."""

from __future__ import annotations

from functools import partial

import diffusers
import transformers

from sdxl_gateway.catalog.model_files import resolve_folder
from sdxl_gateway.config import DEMO_MODEL, Checkpoint, EngineProcess
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.engine.canvas import PartFactory
from sdxl_gateway.engine.compile import compiled_for, keep_compiled_code
from sdxl_gateway.engine.device import choose_dtype, open_device
from sdxl_gateway.engine.engine import DiffusionEngine
from sdxl_gateway.engine.memory.ledger import available_ram_bytes
from sdxl_gateway.engine.models.checkpoint import Source
from sdxl_gateway.engine.models.pool import ModelPool
from sdxl_gateway.engine.parts.guidance import Guidance
from sdxl_gateway.engine.parts.inpainting_channels import InpaintingChannels
from sdxl_gateway.engine.parts.repaint import Repaint
from sdxl_gateway.engine.stages.decode import Decode
from sdxl_gateway.engine.stages.denoise import Denoise
from sdxl_gateway.engine.stages.encode import Encode
from sdxl_gateway.engine.stages.prepare import Prepare
from sdxl_gateway.engine.stages.stage import Stage

PARTS: tuple[PartFactory, ...] = (Guidance.begin, InpaintingChannels.begin, Repaint.begin)
"""In the order in which they draw random numbers and join a UNet call."""


def stages_of(pool: ModelPool) -> tuple[Stage, ...]:
    """What an image passes, from its first stage to its last."""
    return Encode(pool), Prepare(PARTS), Denoise(), Decode()


def open_engine(config: EngineProcess, measure: Measure) -> DiffusionEngine:
    """Raises CheckpointProblem, whose text is for the operator, and OSError for weights that cannot be read."""
    _quiet_libraries()
    device = open_device(config.engine.device, config.engine.threads)
    keep_compiled_code(config.data_directory)
    sources = {name: _source(name, section) for name, section in config.checkpoints.items()}
    if not sources:
        raise CheckpointProblem("No checkpoint is configured.")
    largest = max(source.parameters() for source in sources.values())
    free_bytes = available_ram_bytes()
    dtype = choose_dtype(config.engine.dtype, device.type, parameters=largest, free_host_bytes=free_bytes)
    compiled = partial(compiled_for, parts=PARTS, sizes=config.engine.compiled_sizes)
    pool = ModelPool(config, sources, device, dtype, measure, compiled)
    return DiffusionEngine(pool, stages_of(pool), measure)


def _source(name: str, section: Checkpoint) -> Source:
    vae = None if section.vae is None else resolve_folder(section.vae, DEMO_MODEL)
    if vae is not None and (vae / "vae").is_dir():
        vae = vae / "vae"
    return Source(name, resolve_folder(section.path, DEMO_MODEL), vae)


def _quiet_libraries() -> None:
    """What they have to say of their own is for developers; progress bars are for terminals."""
    for library in (diffusers, transformers):
        library.logging.set_verbosity_error()
        library.logging.disable_progress_bar()
