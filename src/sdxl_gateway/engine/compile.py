"""Takes a checkpoint and sizes to paint at, gives code compiled for those sizes, for all checkpoints of its make.

Blends are written into the weights in place, which compiled code reads like any other input, so no switch compiles
anything. Nothing is compiled while requests are served: whatever was not foreseen takes the UNet as it is.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.core.picture import NO_INPUTS
from sdxl_gateway.core.recipe import NO_BLEND, Recipe, Task
from sdxl_gateway.engine.canvas import Canvas, PartFactory
from sdxl_gateway.engine.models.checkpoint import Checkpoint
from sdxl_gateway.engine.stages import denoise
from sdxl_gateway.engine.stages.encode import encode_text
from sdxl_gateway.engine.stages.prepare import Prepare

log = logging.getLogger(__name__)

Backend = str | Callable[..., Any]
FOLDER_NAME = "compiled"
GRAPHS_PER_SIZE = 2
"""One for a single row, one for any other number of rows: torch compiles a dimension of 1 apart."""


@dataclass(slots=True)
class CompiledCode:
    """A UNet's forward pass, compiled; called with the UNet and what the UNet is called with.

    The weights are inputs, so one code serves every UNet of the same architecture, whichever it was compiled with: a
    checkpoint that leaves and returns as other objects, and others of its make. torch's guards tell them apart.
    """

    max_graphs: int
    backend: Backend = "inductor"
    _fast: Callable[..., Any] = field(init=False)
    _learning: bool = False

    def __post_init__(self) -> None:
        # torch's own stubs leave the last two out.
        self._fast = torch.compile(  # type: ignore[call-overload]
            _forward,
            fullgraph=True,
            dynamic=False,
            backend=self.backend,
            recompile_limit=self.max_graphs,
            isolate_recompiles=True,
        )

    @contextmanager
    def learning(self) -> Iterator[None]:
        """A call of one row in this context is compiled for as it is, another for its size and any number of rows."""
        self._learning = True
        try:
            yield
        finally:
            self._learning = False

    def __call__(self, unet: Any, latents: Tensor, timesteps: Tensor, **others: Any) -> Any:
        # A view of one row as two would have strides of its own, and other strides are other code.
        latents = latents.contiguous()
        if self._learning:
            _let_rows_vary([latents, timesteps, *_tensors(others)])
            return self._fast(unet, latents, timesteps, **others)
        with torch.compiler.set_stance("eager_on_recompile"):
            return self._fast(unet, latents, timesteps, **others)

    def under(self, checkpoint: Checkpoint) -> Checkpoint:
        """The checkpoint, its steps taken by this code where it fits."""
        return replace(checkpoint, denoiser=partial(self, checkpoint.unet))


def _forward(unet: Any, *inputs: Any, **others: Any) -> Any:
    return unet(*inputs, **others)


def _tensors(values: dict[str, Any]) -> Iterator[Tensor]:
    for value in values.values():
        if isinstance(value, dict):
            yield from _tensors(value)
        elif isinstance(value, Tensor):
            yield value


def _let_rows_vary(tensors: Sequence[Tensor]) -> None:
    """Beside this mark every dimension is fixed: code for one size alone is the fastest."""
    for tensor in tensors:
        if len(tensor) > 1:
            torch._dynamo.maybe_mark_dynamic(tensor, 0)


def keep_compiled_code(data_directory: Path) -> None:
    """Code compiled once is found there at the next start, unless the environment names another place."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str((data_directory / FOLDER_NAME).resolve()))


def compiled_for(
    checkpoint: Checkpoint, parts: Sequence[PartFactory], sizes: Sequence[str], backend: Backend = "inductor"
) -> Callable[[Checkpoint], Checkpoint]:
    """Compiles with this checkpoint; what it gives puts the code under this or any other checkpoint.

    `sizes` are painted ones, as "1024x1024"; without any, checkpoints stay as they are. `parts` join its calls. Raises
    CheckpointProblem when there is no compiler.
    """
    if not sizes:
        return _as_it_is
    code = CompiledCode(GRAPHS_PER_SIZE * len(sizes), backend)
    for size in sizes:
        canvas, start = _trial(code.under(checkpoint), parts, *map(int, size.split("x"))), perf_counter()
        try:
            _learn(code, canvas)
        except Exception as error:
            raise CheckpointProblem(
                f"engine.compiled_sizes: the UNet could not be compiled for {size}, for which torch needs a C++"
                " compiler, or Triton on a GPU. Without compiled_sizes it is not compiled."
            ) from error
        log.info("compiled %s for %s in %.0f s", checkpoint.name, size, perf_counter() - start)
    return code.under


def _as_it_is(checkpoint: Checkpoint) -> Checkpoint:
    return checkpoint


@torch.inference_mode()
def _learn(code: CompiledCode, canvas: Canvas) -> None:
    with code.learning():
        denoise.predict([canvas])
        denoise.predict([canvas, canvas])


@torch.inference_mode()
def _trial(checkpoint: Checkpoint, parts: Sequence[PartFactory], width: int, height: int) -> Canvas:
    recipe = Recipe(
        task=Task.TEXT_TO_IMAGE,
        checkpoint=checkpoint.name,
        checkpoint_digest="",
        blend=NO_BLEND,
        prompt="",
        negative_prompt="",
        width=width,
        height=height,
        paint_width=width,
        paint_height=height,
        steps=1,
        guidance_scale=1.0,
        sampler="euler",
        seed=0,
        embeds_guidance=checkpoint.embeds_guidance,
    )
    canvas = Canvas(recipe, 0, NO_INPUTS, checkpoint)
    canvas.positive = canvas.negative = encode_text(checkpoint, recipe.prompt)
    Prepare(parts).begin(canvas)
    return canvas
