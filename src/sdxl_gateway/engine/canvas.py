"""Canvas: one image being painted, with its own latents, sampler, noise and place in the step sequence.

StepPart: what an option adds to a canvas's steps. StepPart and Canvas are all that a file of parts/ has to know.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor

from sdxl_gateway.core.picture import Inputs, Picture
from sdxl_gateway.core.recipe import BlendKey, Phase, Recipe
from sdxl_gateway.engine.latents import LatentSource
from sdxl_gateway.engine.models.checkpoint import Checkpoint
from sdxl_gateway.engine.models.image_prompts import IPAdapter
from sdxl_gateway.engine.models.text_layers import NO_TEXT_LAYERS, TextLayers
from sdxl_gateway.engine.mosaic import Mosaic
from sdxl_gateway.scheduling.batch_key import BatchKey
from sdxl_gateway.scheduling.detail import closing_steps


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """`tokens` is (1, 77 for each chunk, width of both encoders), `pooled` (1, projection) of the first chunk.

    `later` is how each chunk after the first begins; `cut` is the text that did not fit into them.
    """

    tokens: Tensor
    pooled: Tensor
    cut: str = ""
    later: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """What both tensors take."""
        return self.tokens.nbytes + self.pooled.nbytes

    def zeros(self) -> Embedding:
        """Of the same shapes, and of no text."""
        return Embedding(torch.zeros_like(self.tokens), torch.zeros_like(self.pooled))

    def padded(self, empty: Tensor, length: int) -> Embedding:
        """With as many times the `empty` text's tokens (1, 77, width) after its own as give `length` tokens."""
        missing = (length - self.tokens.shape[1]) // empty.shape[1]
        return replace(self, tokens=torch.cat([self.tokens, *[empty] * missing], dim=1))


@dataclass(frozen=True, slots=True, eq=False)
class ImageTokens:
    """What pictures say through an IP-Adapter: `tokens` (rows, tokens, text width), with `weights` (rows, tokens, 1).

    There is one row for each of the canvas's UNet rows; that of the negative prompt says nothing.
    """

    adapter: IPAdapter
    tokens: Tensor
    weights: Tensor


@dataclass(slots=True)
class UNetCall:
    """One UNet call for all canvases of a batch; a canvas has `rows` rows, next to each other.

    `sample` (rows, channels, h, w) and `timesteps` (rows,) begin as the scaled latents and what the samplers say;
    `arguments` are the others of UNet2DConditionModel, by name. `denoiser` is what is called: the checkpoint's own, or
    what a part for which that was not made has put in its place, around `unet`. `blend` is on that, and `text_layers`
    are its own.
    """

    sample: Tensor
    timesteps: Tensor
    unet: Any
    denoiser: Callable[..., Any]
    arguments: dict[str, Any] = field(default_factory=dict)
    text_layers: TextLayers = NO_TEXT_LAYERS
    blend: BlendKey = ()


class StepPart:
    """One option's part in one canvas's steps. All methods do nothing unless a subclass has them.

    No method reads anything back from the device: the host runs ahead of it.
    """

    @property
    def key(self) -> Hashable:
        """None: the part is its canvas's own affair, and does not join.

        Otherwise canvases share a step only where all have a part of this class, with an equal key.
        """
        return None

    @classmethod
    def join(cls, parts: Sequence[Self], call: UNetCall) -> None:
        """Change what the UNet is called with, once for a batch: `parts` has one of each canvas, in the rows' order.

        The call already holds what the parts before it on the list have put in.
        """

    def combined(self, prediction: Tensor) -> Tensor:
        """The canvas's share of what the UNet predicts, (rows, 4, h, w) float32, or fewer rows of it."""
        return prediction

    def after_step(self, canvas: Canvas) -> None:
        """The sampler has moved `canvas.latents`; `canvas.steps_done` does not count this step yet."""

    def handed_over(self, canvas: Canvas) -> StepPart | None:
        """The part in the phase that begins, once its model's texts are there; None where that has none."""
        return self

    def of_prompt(self) -> StepPart:
        """The part once guidance ended: for the last of the canvas's rows alone, which is the prompt's."""
        return self

    def previewed(self, latents: Tensor) -> Tensor:
        """The predicted clean latents (1, 4, h, w) as a preview shows them."""
        return latents


Pending = Callable[[], Picture]
"""A picture under way from the device: waits for it, on any thread."""

PartFactory = Callable[["Canvas"], StepPart | None]
"""Gives a canvas its part, or None where the option is not for it; called once its latents and noise are there."""


@dataclass(slots=True, eq=False, repr=False)
class Canvas:
    """Begins with what it is to be; the stages fill in the rest.

    `positive` and `negative` are the texts' embeddings, `image_tokens` what pictures say that guide it. `timesteps`
    belong to the sampler, `unet_timesteps` are the same numbers as float32 on the device. `latents` (1, 4, h, w), the
    `noise` they began from, the `image_latents` of a picture to start from and `pred_original`, the clean latents
    predicted, are float32 on the device, and so, while its parts are made, are the `pictures` it is painted from, by
    role, as (1, channels, height, width) from 0 to 1. Where `step_failed`, a step stopped half-way: what the sampler
    remembers of earlier steps cannot be trusted. `decoding` is there once the decode is issued, `picture` once it was
    waited for; each closing step adds a tile to `enlarged` (height, width, 3), the picture enlarged, 8-bit, on the CPU,
    or to the `mosaic` of `large`, a canvas on which that is painted over.
    """

    recipe: Recipe
    index: int
    inputs: Inputs
    checkpoint: Checkpoint
    positive: Embedding = field(init=False)
    negative: Embedding = field(init=False)
    source: LatentSource = field(init=False)
    sampler: Any = field(init=False)
    step_options: dict[str, Any] = field(init=False)
    timesteps: Tensor = field(init=False)
    unet_timesteps: Tensor = field(init=False)
    latents: Tensor = field(init=False)
    noise: Tensor = field(init=False)
    pictures: Mapping[str, Tensor] = field(default_factory=dict)
    image_latents: Tensor | None = None
    image_tokens: ImageTokens | None = None
    parts: tuple[StepPart, ...] = ()
    warnings: tuple[str, ...] = ()
    pred_original: Tensor | None = None
    steps_done: int = 0
    step_failed: bool = False
    decoding: Pending | None = None
    picture: Picture | None = None
    enlarged: Tensor | None = None
    large: Canvas | None = None
    mosaic: Mosaic | None = None

    def collect(self) -> Picture | None:
        """The picture, once its decode is done; None where nothing decodes it. Raises what the decode came to."""
        if self.picture is None and self.decoding is not None:
            self.picture = self.decoding()
        return self.picture

    @property
    def batch_key(self) -> Hashable:
        """That of the recipe's present phase, and the parts' own; a canvas that is denoised is alone."""
        if self.denoised:
            return id(self)
        keys = [(type(part), part.key) for part in self.joining]
        return BatchKey.of(self.recipe, self.steps_done), *keys

    @property
    def joining(self) -> list[StepPart]:
        """The parts that join a UNet call; canvases of one batch key have them alike."""
        return [part for part in self.parts if part.key is not None]

    @property
    def rows(self) -> int:
        """Of the UNet's next call: the negative prompt's, if guidance takes part in the step, and the prompt's."""
        return self.recipe.unet_rows_at(self.steps_done)

    @property
    def phase(self) -> Phase:
        """The model and the blend of the next step."""
        return self.recipe.phase_at(self.steps_done)

    @property
    def steps_total(self) -> int:
        """Steps from the first to the finished picture."""
        return self.sampler_steps + self.closing_steps

    @property
    def sampler_steps(self) -> int:
        """Those that remove noise."""
        return len(self.timesteps)

    @property
    def closing_steps(self) -> int:
        """Steps that follow those of the sampler: one for each tile, and turn, in which the picture is enlarged."""
        return closing_steps(self.recipe)

    @property
    def closing_done(self) -> int:
        """Of `closing_steps`."""
        return self.steps_done - self.sampler_steps

    @property
    def denoised(self) -> bool:
        """No step of the sampler is left."""
        return self.steps_done >= self.sampler_steps


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """All their rows, one after another; a single tensor as it is, uncopied."""
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))
