"""Canvas: one image being painted, with its own latents, sampler, noise and step counter.

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
    """A text encoded: `tokens` (1, chunks * 77, width of both encoders), `pooled` (1, projection) of the first chunk.

    For warnings: `later` is how each chunk after the first begins, `cut` the text that was truncated.
    """

    tokens: Tensor
    pooled: Tensor
    cut: str = ""
    later: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Of both tensors."""
        return self.tokens.nbytes + self.pooled.nbytes

    def zeros(self) -> Embedding:
        """Zeros of the same shapes, as of no text."""
        return Embedding(torch.zeros_like(self.tokens), torch.zeros_like(self.pooled))

    def padded(self, empty: Tensor, length: int) -> Embedding:
        """Padded to `length` tokens with those of the `empty` text, (1, 77, width), repeated."""
        missing = (length - self.tokens.shape[1]) // empty.shape[1]
        return replace(self, tokens=torch.cat([self.tokens, *[empty] * missing], dim=1))


@dataclass(frozen=True, slots=True, eq=False)
class ImageTokens:
    """References encoded by an IP-Adapter: `tokens` (rows, tokens, text width), with `weights` (rows, tokens, 1).

    One row for each of the canvas's UNet rows; the negative prompt's encodes no picture.
    """

    adapter: IPAdapter
    tokens: Tensor
    weights: Tensor


@dataclass(slots=True)
class UNetCall:
    """One UNet call for all canvases of a batch; each canvas's `rows` rows are adjacent.

    `sample` (rows, channels, h, w) and `timesteps` (rows,) begin as the scaled latents and the samplers' timesteps;
    `arguments` are UNet2DConditionModel's others, by name. `denoiser` is what is called: the checkpoint's own, or a
    wrapper around `unet` by which a part replaced it. `unet` has `blend` on, and `text_layers` are its own.
    """

    sample: Tensor
    timesteps: Tensor
    unet: Any
    denoiser: Callable[..., Any]
    arguments: dict[str, Any] = field(default_factory=dict)
    text_layers: TextLayers = NO_TEXT_LAYERS
    blend: BlendKey = ()


class StepPart:
    """One option's part in one canvas's steps. Methods do nothing unless a subclass overrides them.

    No method may read anything back from the device, as that would make the host wait for it.
    """

    @property
    def key(self) -> Hashable:
        """None: `join` is not called, and the part does not decide which canvases share a batch.

        Otherwise canvases share a step only if all have a part of this class, with an equal key.
        """
        return None

    @classmethod
    def join(cls, parts: Sequence[Self], call: UNetCall) -> None:
        """Change the UNet's call, once for a batch: `parts` has one of each canvas, in the order of their rows.

        Parts of classes earlier in the list have already changed it.
        """

    def combined(self, prediction: Tensor) -> Tensor:
        """The canvas's rows of the UNet's prediction, (rows, 4, h, w) float32, changed or reduced to fewer rows."""
        return prediction

    def after_step(self, canvas: Canvas) -> None:
        """The sampler has advanced `canvas.latents`; `canvas.steps_done` does not count this step yet."""

    def handed_over(self, canvas: Canvas) -> StepPart | None:
        """The part for another model's phase, once texts are encoded for that model; None if it has none there."""
        return self

    def of_prompt(self) -> StepPart:
        """The part after guidance has ended: for the canvas's last row only, the prompt's."""
        return self

    def previewed(self, latents: Tensor) -> Tensor:
        """The predicted clean latents (1, 4, h, w), changed as a preview should show them."""
        return latents


Pending = Callable[[], Picture]
"""A picture being copied from the device: waits for it, on any thread."""

PartFactory = Callable[["Canvas"], StepPart | None]
"""Gives a canvas its part, or None if it does not use the option; called once its latents and noise are there."""


@dataclass(slots=True, eq=False, repr=False)
class Canvas:
    """Created from a recipe; the stages fill in the rest.

    `positive` and `negative` are the texts' embeddings, `image_tokens` those of its references. `timesteps` are the
    sampler's, `unet_timesteps` the same numbers as float32 on the device. Float32 on the device are: `latents`
    (1, 4, h, w), the `noise` they began from, the `image_latents` of a picture to start from, `pred_original`, the
    predicted clean latents, and, while the parts are made, the `pictures` to paint from, by role, (1, channels, height,
    width) from 0 to 1. `step_failed`: a step was interrupted, so the sampler's history cannot be trusted. `decoding` is
    set once the decode is issued, `picture` once it was waited for. Each closing step adds a tile to `enlarged`
    (height, width, 3), the enlarged picture, 8-bit, on the CPU, or to the `mosaic` of `large`, the canvas of the detail
    pass over that picture.
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
        """Waits for the decode and gives the picture; None if none was issued. Raises the decode's errors."""
        if self.picture is None and self.decoding is not None:
            self.picture = self.decoding()
        return self.picture

    @property
    def batch_key(self) -> Hashable:
        """The recipe's for the current phase, and the parts' own; a denoised canvas shares no step."""
        if self.denoised:
            return id(self)
        keys = [(type(part), part.key) for part in self.joining]
        return BatchKey.of(self.recipe, self.steps_done), *keys

    @property
    def joining(self) -> list[StepPart]:
        """The parts that join a UNet call; those of canvases of one batch key are of the same classes."""
        return [part for part in self.parts if part.key is not None]

    @property
    def rows(self) -> int:
        """In the UNet's next call: the negative prompt's, if the step is guided, and the prompt's."""
        return self.recipe.unet_rows_at(self.steps_done)

    @property
    def phase(self) -> Phase:
        """The next step's phase: its model and blend."""
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
        """Steps after the sampler's: one for each tile of an enlargement, and each tile and turn of a detail pass."""
        return closing_steps(self.recipe)

    @property
    def closing_done(self) -> int:
        """How many of `closing_steps` are done."""
        return self.steps_done - self.sampler_steps

    @property
    def denoised(self) -> bool:
        """No step of the sampler is left."""
        return self.steps_done >= self.sampler_steps


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """Concatenated along the rows; a single tensor is not copied."""
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))
