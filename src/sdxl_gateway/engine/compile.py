"""Takes a checkpoint and sizes to paint at, gives every checkpoint of its make the fastest way to call its UNet.

Sizes named in the settings are compiled before the engine is ready, others while it paints, which uses the code from
the next step on; in a separate process where possible. On CUDA, calls are recorded as graphs too, compiled or not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from threading import Event, Thread
from time import perf_counter
from typing import Any, Self

import torch
from torch import Tensor

from sdxl_gateway.catalog.model_files import UNET, VAE
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.engine.canvas import PartFactory
from sdxl_gateway.engine.device import be_current
from sdxl_gateway.engine.models.checkpoint import Checkpoint
from sdxl_gateway.engine.trial import call_of, trial_canvas
from sdxl_gateway.engine.unet.calls import Call
from sdxl_gateway.engine.unet.compiled import Backend, Codes, make_of
from sdxl_gateway.engine.unet.compiler import Closed, Compiler
from sdxl_gateway.engine.unet.decoder import DecodeCodes, Decoder
from sdxl_gateway.engine.unet.denoiser import Denoiser
from sdxl_gateway.engine.unet.recorded import Recordings, Tape
from sdxl_gateway.engine.unet.target import CompileTarget, traceable

log = logging.getLogger(__name__)

GUIDED_ROWS = 2
Work = Callable[[], None]
PAUSE_SECONDS = 2.0
"""Between two compilations, so that steps can record calls of the code compiled last."""
BUCKET_ORDER = (2, 1, 4, 8)
"""The most common first: a single guided picture is two rows."""
NO_COMPILER = (
    "engine.compiled_sizes: {name}, could not be compiled; torch needs a C++ compiler for that, or Triton on a GPU."
    " With [] nothing is compiled."
)


@dataclass(frozen=True, slots=True, eq=False)
class Todo:
    """What to compile with a checkpoint: `calls` of one row and `latents`, by size, and the numbers of `rows`."""

    checkpoint: Checkpoint
    calls: Mapping[str, Call]
    latents: Mapping[str, Tensor]
    rows: tuple[int, ...]

    @classmethod
    def of(cls, checkpoint: Checkpoint, parts: Sequence[PartFactory], sizes: Sequence[str], lanes: int) -> Self:
        """For `sizes` painted at, as "1024x1024", calls that `parts` join, and up to `lanes` guided pictures in one."""
        canvases = {size: trial_canvas(checkpoint, parts, *map(int, size.split("x"))) for size in sizes}
        calls = {size: call_of(canvas).blank() for size, canvas in canvases.items()}
        decodes = checkpoint.device.type == "cuda" and not checkpoint.placement.offloads(VAE)
        latents = {size: canvas.latents.to(checkpoint.vae.dtype) for size, canvas in canvases.items() if decodes}
        rows = tuple(bucket for bucket in BUCKET_ORDER if bucket <= GUIDED_ROWS * lanes)
        return cls(checkpoint, calls, latents, rows)


class Denoisers:
    """Gives each checkpoint a Denoiser, with compiled code if the code is for checkpoints of its make.

    Code is shared by all checkpoints of a make; recordings, made if there is a `tape`, belong to one, as they contain
    its weights' addresses. With neither, checkpoints stay unchanged.
    """

    def __init__(self, todo: Todo, tape: Tape | None = None, backend: Backend = "inductor") -> None:
        self._todo = todo
        self._tape = tape
        self._make = make_of(todo.checkpoint.unet) if todo.calls else None
        self._vae_make = make_of(todo.checkpoint.vae) if todo.latents else None
        self._codes: Codes = {}
        self._decodes: DecodeCodes = {}
        self._stopped = Event()
        self._compiler = Compiler(backend)

    @property
    def first(self) -> Checkpoint:
        """The checkpoint that code is compiled from."""
        return self._todo.checkpoint

    def attach(self, checkpoint: Checkpoint) -> Checkpoint:
        """The checkpoint with its UNet and VAE called in the fastest way; an offloaded UNet is called as it is."""
        if self._vae_make is not None and make_of(checkpoint.vae) == self._vae_make:
            checkpoint = replace(checkpoint, decoder=Decoder(checkpoint.vae, self._decodes))
        fits = self._make is not None and make_of(checkpoint.unet) == self._make
        if checkpoint.placement.offloads(UNET) or (not fits and self._tape is None):
            return checkpoint
        recordings = None if self._tape is None else Recordings(self._tape)
        return replace(checkpoint, denoiser=Denoiser(checkpoint.unet, self._codes if fits else {}, recordings))

    def detach(self, checkpoint: Checkpoint) -> None:
        """The checkpoint's weights are leaving the device, which is idle. Nothing more is compiled from them."""
        if isinstance(checkpoint.denoiser, Denoiser):
            checkpoint.denoiser.close()
        if checkpoint.unet is self.first.unet:
            self._stopped.set()
            self._compiler.close()

    def compile(self) -> None:
        """Compile everything now. Raises CheckpointProblem if that fails, as without a compiler."""
        for name, work in self._works():
            try:
                _timed(name, work)
            except Exception as error:
                raise CheckpointProblem(NO_COMPILER.format(name=name)) from error

    def compile_beside(self) -> Thread:
        """Compile on a thread of its own, while pictures are painted, which use the code as it becomes ready.

        If the first compilation fails, there is no compiler, and the thread ends; later failures are skipped.
        """
        thread = Thread(target=self._compile_in_turn, name="compiler", daemon=True)
        thread.start()
        return thread

    def _compile_in_turn(self) -> None:
        be_current(self.first.device)
        for name, work in self._works():
            try:
                _timed(name, work)
            except Closed:
                return
            except Exception as error:
                log.warning("%s, could not be compiled; it is run uncompiled", name, exc_info=error)
            if not self._codes or self._stopped.wait(PAUSE_SECONDS):
                return

    def _works(self) -> Iterator[tuple[str, Work]]:
        """What to compile, the most useful first, each with its name for messages."""
        if not self._todo.calls:
            return
        unet, vae = traceable(self.first.unet), traceable(self.first.vae)
        for index, (rows, (size, call)) in enumerate(product(self._todo.rows, self._todo.calls.items())):
            yield f"the UNet, {rows} rows of {size}", partial(self._compile, unet, call, rows)
            if index < len(self._todo.latents):
                yield f"the VAE, {size}", partial(self._compile_decode, vae, self._todo.latents[size])

    def _compile(self, unet: Any, call: Call, rows: int) -> None:
        self._codes[call.form, rows] = self._compiler.code(CompileTarget.of_unet(unet, call.repeated(rows)))

    def _compile_decode(self, vae: Any, latents: Tensor) -> None:
        self._decodes[latents.shape, latents.dtype] = self._compiler.code(CompileTarget.of_decode(vae, latents))


@torch.inference_mode()
def _timed(name: str, work: Work) -> None:
    start = perf_counter()
    work()
    log.info("%s: compiled code was ready after %.0f s", name, perf_counter() - start)
