"""Ask: what a caller asked for, well-formed but with no names looked up; made in api/asks, resolved in admission."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from sdxl_gateway.core.picture import NO_PADDING, Padding, Size
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.core.recipe import Background, Task
from sdxl_gateway.core.rollout import Arm


class Operation(StrEnum):
    """The three operations of OpenAI's image API."""

    GENERATE = "generate"
    EDIT = "edit"
    VARY = "vary"


class Place(StrEnum):
    """Where a picture is that was given by reference; its value is the key of the reference object."""

    FILE = "file_id"
    WEB = "image_url"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A picture that was given by reference: the id of a file, or an address."""

    place: Place
    name: str


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded picture; `field` is the name that an error gives it ("image", "image[1]", "mask").

    While it is `elsewhere`, `data` is empty.
    """

    field: str
    data: bytes
    elsewhere: Elsewhere | None = None

    def brought(self, data: bytes) -> Upload:
        """The same upload with its data, now that it was fetched."""
        return Upload(self.field, data)


@dataclass(frozen=True, slots=True)
class Reference:
    """A picture that guides the painting; the default weight is that of `input_fidelity`, else the server's."""

    upload: Upload
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class LoraRef:
    """A LoRA as it was asked for; a weight of None is its own default, and for text encoders the same as `weight`.

    `blocks` are factors of these for the text encoders and each of `blocks.BLOCKS`; empty when all are 1.

    `param` is the field that an error names: "model", "prompt", or an entry of `loras` ("loras[1]"). `digest` (sha256,
    hex) is the file that it must be, if one was given.
    """

    name: str
    weight: float | None = None
    text_encoder_weight: float | None = None
    param: str = field(default="loras", compare=False)
    blocks: tuple[float, ...] = ()
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """What a recipe that is to be painted again was made from; None for what it lacks, or the caller changed.

    `inputs` are digests of pictures by role, `embeddings` those of files by the word they teach, `matte_digest` that of
    a matte model; `final_prompt` is true when the prompt already has all its trigger words. `reference_weights` are
    those of the guiding pictures, in their order, and `arm` is that of the rollout it was painted for.
    """

    task: Task
    checkpoint_digest: str | None = None
    inputs: tuple[tuple[str, str], ...] | None = None
    final_prompt: bool = True
    embeddings: tuple[tuple[str, str], ...] | None = None
    ip_adapter_digest: str | None = None
    reference_weights: tuple[float, ...] = ()
    matte_digest: str | None = None
    refiner_digest: str | None = None
    upscaler_digest: str | None = None
    arm: Arm | None = None


@dataclass(frozen=True, slots=True)
class ControlRef:
    """A control picture and the kind of control it is for; `start` and `end` are shares of the steps.

    `mode` is what the picture shows, for a control that reads several kinds: a name or a number, as written.
    `preprocess` names what makes a map of it; True leaves the choice to the control, False says that it is a map
    already, and None uses the control's own preprocessor if it has one.

    `param` is the entry that an error names ("controls[1]"). `digest` is the ControlNet that it must be, if given.
    """

    type: str
    image: Upload
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0
    mode: str | None = None
    preprocess: bool | str | None = None
    param: str = field(default="controls", compare=False)
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """None means "not given"; types and static ranges are checked, names and sizes are not yet looked up.

    `input_fidelity` is "low", "high" or a weight; `timeout` is seconds. `webhook_url` is called when a job of it ends.
    `arm` is chosen once, when the request is accepted.
    """

    operation: Operation
    prompt: str = ""
    model: str | None = None
    n: int = 1
    size: Size | None = None
    quality: str | None = None
    response_format: str | None = None
    output_format: str = "png"
    output_compression: int = 100
    stream: bool = False
    partial_images: int = 0
    user: str | None = None
    seed: int | None = None
    negative_prompt: str | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    sampler: str | None = None
    schedule: str | None = None
    eta: float | None = None
    guidance_rescale: float | None = None
    guidance_end: float | None = None
    refiner: str | bool | None = None
    refiner_at: float | None = None
    strength: float | None = None
    clip_skip: int | None = None
    prompt_syntax: str | None = None
    style: str | None = None
    enhance: bool = False
    long_prompts: bool | None = None
    loras: tuple[LoraRef, ...] = ()
    images: tuple[Upload, ...] = ()
    mask: Upload | None = None
    padding: Padding = NO_PADDING
    inpaint_padding: int | None = None
    seam: int | None = None
    upscale: int = 1
    upscaler: str | None = None
    detail: float | None = None
    embed_recipe: bool | None = None
    priority: Priority | None = None
    timeout: float | None = None
    background: Background | None = None
    replay: Replay | None = None
    controls: tuple[ControlRef, ...] = ()
    markup: Upload | None = None
    references: tuple[Reference, ...] = ()
    input_fidelity: str | float | None = None
    webhook_url: str | None = None
    arm: Arm | None = None

    @property
    def uploads(self) -> tuple[Upload, ...]:
        """Every picture of the request."""
        single = (one for one in (self.mask, self.markup) if one is not None)
        of_controls = (control.image for control in self.controls)
        return *self.images, *single, *of_controls, *(one.upload for one in self.references)

    def with_pictures(self, found: Mapping[str, Upload]) -> Ask:
        """The same with other uploads in the place of those whose `field` is among `found`."""

        def now(upload: Upload) -> Upload:
            return found.get(upload.field, upload)

        return replace(
            self,
            images=tuple(map(now, self.images)),
            mask=None if self.mask is None else now(self.mask),
            markup=None if self.markup is None else now(self.markup),
            controls=tuple(replace(control, image=now(control.image)) for control in self.controls),
            references=tuple(replace(one, upload=now(one.upload)) for one in self.references),
        )
