"""Takes a checkpoint and sizes to paint at, gives every checkpoint of its make the fastest way to call its UNet.

Code is made before the engine is ready, for sizes that were named, or beside the step loop, which takes it up between
two steps; by a process of its own, where there can be one. On CUDA, calls are recorded besides, compiled or not.
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
from sdxl_gateway.engine.unet.wanted import Wanted, traceable

log = logging.getLogger(__name__)

GUIDED_ROWS = 2
Work = Callable[[], None]
PAUSE_SECONDS = 2.0
"""Between two compilations, in which steps have what is there recorded."""
FIRST = (2, 1, 4, 8)
"""The buckets in the order of their worth: a guided picture alone is two rows."""
NO_COMPILER = (
    "engine.compiled_sizes: {name}, could not be compiled; torch needs a C++ compiler for that, or Triton on a GPU."
    " With [] nothing is compiled."
)


@dataclass(frozen=True, slots=True, eq=False)
class Todo:
    """What is to be compiled with a checkpoint: by size, a call of one row and latents; and the numbers of rows."""

    checkpoint: Checkpoint
    calls: Mapping[str, Call]
    latents: Mapping[str, Tensor]
    rows: tuple[int, ...]

    @classmethod
    def of(cls, checkpoint: Checkpoint, parts: Sequence[PartFactory], sizes: Sequence[str], lanes: int) -> Self:
        """`sizes` are painted ones, as "1024x1024"; `parts` join the calls; so many guided pictures share one."""
        canvases = {size: trial_canvas(checkpoint, parts, *map(int, size.split("x"))) for size in sizes}
        calls = {size: call_of(canvas).blank() for size, canvas in canvases.items()}
        decodes = checkpoint.device.type == "cuda" and not checkpoint.placement.offloads(VAE)
        latents = {size: canvas.latents.to(checkpoint.vae.dtype) for size, canvas in canvases.items() if decodes}
        return cls(checkpoint, calls, latents, tuple(bucket for bucket in FIRST if bucket <= GUIDED_ROWS * lanes))


class Denoisers:
    """Puts a Denoiser under each checkpoint, with code where it is of the make that code is compiled for.

    The code belongs to the make; recordings, which are made where there is a `tape`, to a checkpoint, as they know
    where its weights are. Where there is neither, checkpoints stay as they are.
    """

    def __init__(self, todo: Todo, tape: Tape | None = None, backend: Backend = "inductor") -> None:
        self._todo = todo
        self._tape = tape
        self._make = make_of(todo.checkpoint.unet) if todo.calls else None
        self._vae_make = make_of(todo.checkpoint.vae) if todo.latents else None
        self._codes: Codes = {}
        self._decodes: DecodeCodes = {}
        self._over = Event()
        self._compiler = Compiler(backend)

    @property
    def first(self) -> Checkpoint:
        """The checkpoint that code is compiled with."""
        return self._todo.checkpoint

    def under(self, checkpoint: Checkpoint) -> Checkpoint:
        """The checkpoint, its UNet called in the fastest way there is; one that is streamed to the device, as it is."""
        if self._vae_make is not None and make_of(checkpoint.vae) == self._vae_make:
            checkpoint = replace(checkpoint, decoder=Decoder(checkpoint.vae, self._decodes))
        fits = self._make is not None and make_of(checkpoint.unet) == self._make
        if checkpoint.placement.offloads(UNET) or (not fits and self._tape is None):
            return checkpoint
        recordings = None if self._tape is None else Recordings(self._tape)
        return replace(checkpoint, denoiser=Denoiser(checkpoint.unet, self._codes if fits else {}, recordings))

    def leave(self, checkpoint: Checkpoint) -> None:
        """Its weights go elsewhere; the device is done with what was issued. Nothing more is compiled with them."""
        if isinstance(checkpoint.denoiser, Denoiser):
            checkpoint.denoiser.close()
        if checkpoint.unet is self.first.unet:
            self._over.set()
            self._compiler.close()

    def compile(self) -> None:
        """All of it, now. Raises CheckpointProblem where there is no compiler."""
        for name, work in self._works():
            try:
                _timed(name, work)
            except Exception as error:
                raise CheckpointProblem(NO_COMPILER.format(name=name)) from error

    def compile_beside(self) -> Thread:
        """On a thread of its own, while pictures are painted, which take up what is there.

        Where the first of it fails there is no compiler, and it ends; what fails later is done without.
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
                log.warning("%s, could not be compiled; it is painted with as it is", name, exc_info=error)
            if not self._codes or self._over.wait(PAUSE_SECONDS):
                return

    def _works(self) -> Iterator[tuple[str, Work]]:
        """In the order of their worth, with what they are for."""
        if not self._todo.calls:
            return
        unet, vae = traceable(self.first.unet), traceable(self.first.vae)
        for place, (rows, (size, call)) in enumerate(product(self._todo.rows, self._todo.calls.items())):
            yield f"the UNet, {rows} rows of {size}", partial(self._compile, unet, call, rows)
            if place < len(self._todo.latents):
                yield f"the VAE, {size}", partial(self._compile_decode, vae, self._todo.latents[size])

    def _compile(self, unet: Any, call: Call, rows: int) -> None:
        self._codes[call.form, rows] = self._compiler.code(Wanted.of_unet(unet, call.repeated(rows)))

    def _compile_decode(self, vae: Any, latents: Tensor) -> None:
        self._decodes[latents.shape, latents.dtype] = self._compiler.code(Wanted.of_decode(vae, latents))


@torch.inference_mode()
def _timed(name: str, work: Work) -> None:
    start = perf_counter()
    work()
    log.info("%s: its code was there after %.0f s", name, perf_counter() - start)
