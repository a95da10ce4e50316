"""Takes pictures as an engine painted them, gives them as they are handed out; all of them pass here, previews too."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from PIL import Image

from sdxl_gateway import __version__
from sdxl_gateway.config import Safety
from sdxl_gateway.core.errors import StorageFull, Unavailable
from sdxl_gateway.core.events import Painted, Previewed
from sdxl_gateway.core.listeners import Listener, unheard
from sdxl_gateway.core.picture import KeptRegion, Picture, Size
from sdxl_gateway.core.ports import ImageStore, Matte, StoredImage
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.core.safety import UNWATCHED, Oversight
from sdxl_gateway.core.trace import staged
from sdxl_gateway.delivery.inspect import Inspection, Passed
from sdxl_gateway.delivery.receipt import receipt
from sdxl_gateway.pictures.encode import encode
from sdxl_gateway.pictures.finish import finish
from sdxl_gateway.pictures.infotext import infotext
from sdxl_gateway.pictures.pixels import from_image, to_image
from sdxl_gateway.pictures.written import Written, fits
from sdxl_gateway.safety.judges import Judges
from sdxl_gateway.storage.reviews import NewReview

log = logging.getLogger(__name__)

NOT_KEPT = "The picture could not be stored by the server, so it has no address; it is sent as data alone."
NOT_WRITTEN = "The recipe is too long to be written into a file of this format; the reply holds it."
BLURRED = "The picture was blurred by the safety system."
NO_ADDRESS = (
    "The picture cannot be stored on the server's disk, so it has no address; "
    "with response_format 'b64_json' it is sent as data."
)


@dataclass(frozen=True, slots=True)
class Presented:
    """A picture to be handed out: its encoded bytes, its record in the store if it was kept, and its recipe.

    `warnings` are for its caller; `clean` is true when every judge saw it and found nothing, and `review` is the id of
    its review, if a person is to look at it.
    """

    index: int
    data: bytes
    stored: StoredImage | None
    seed: int
    recipe: dict[str, Any]
    warnings: tuple[str, ...] = ()
    clean: bool = True
    review: str | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """A finished picture's bytes, with its index in the request."""

    index: int
    seed: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Partial:
    """An encoded partial image of the picture of that `index`."""

    partial_index: int
    data: bytes
    index: int = 0


@dataclass(frozen=True, slots=True)
class Output:
    """How the pictures of one request are handed out; `kept` is what an inpaint must not change, and `keep` stores each
    picture for `tenant`.

    `output_format` is "png", "jpeg" or "webp"; `compression` (0..100) is the quality of the latter two.
    With `must_keep` a picture that cannot be stored is an error. `embed_recipe` is whether the file is to hold the
    recipe, None for the server's default. `oversight` is how the pictures are judged.
    """

    recipe: Recipe
    kept: KeptRegion | None
    output_format: str
    compression: int
    tenant: str
    keep: bool = False
    must_keep: bool = False
    embed_recipe: bool | None = None
    oversight: Oversight = UNWATCHED

    @property
    def size(self) -> Size:
        """What the caller gets, in pixels."""
        return Size(self.recipe.width, self.recipe.height)


class Deliverer:
    """Judges, finishes, encodes and keeps pictures; `embed_recipe` is whether files hold their recipes by default.

    `matte` finds the subject of pictures with a transparent background, `inspection` has every picture judged, and
    `listener` hears how long the stages of traced jobs took.
    """

    def __init__(
        self,
        images: ImageStore,
        *,
        embed_recipe: bool,
        matte: Matte | None = None,
        inspection: Inspection | None = None,
        listener: Listener = unheard,
    ) -> None:
        self._images = images
        self._embed_recipe = embed_recipe
        self._matte = matte
        self._inspection = inspection or Inspection(Judges(Safety()), lambda moderated: None)
        self._listener = listener

    async def preview(self, event: Previewed, output: Output) -> Partial:
        """The partial image: it is not kept, holds no recipe, and its background is opaque.

        Raises ModerationBlocked, PictureUnjudged.
        """
        image = await asyncio.to_thread(_finished, event.picture, output)
        image = await self._inspection.look(image, output.oversight, event.job_id)
        return Partial(event.partial_index, await asyncio.to_thread(_encoded, image, output), event.index)

    async def deliver(self, event: Painted, output: Output) -> Presented:
        """The picture as it is handed out, and kept if `output` says so.

        Raises StorageFull when it must be kept and cannot, ModerationBlocked, PictureUnjudged, and what a matte raises.
        """
        stage = partial(staged, self._listener, event.job_id, index=event.index)
        with stage("finish"):
            finished = await asyncio.to_thread(_finished, event.picture, output)
        with stage("inspect"):
            passed = await self._inspection.picture(finished, output.oversight, event.job_id)
        written = self._written(event.seed, output)
        with stage("encode_file"):
            data = await asyncio.to_thread(_encoded, await self._cut_out(passed, output), output, written)
        presented = await self.again(Encoded(event.index, event.seed, data), output)
        review = await self._flagged(event, output, passed, presented)
        blurred = (BLURRED,) if passed.blurred else ()
        return replace(
            presented,
            warnings=(*blurred, *presented.warnings),
            clean=passed.clean,
            review=review,
        )

    async def again(self, picture: Encoded, output: Output) -> Presented:
        """A picture that is encoded already, kept if `output` says so. Raises as `deliver`."""
        written = self._written(picture.seed, output)
        stored = await self._stored(picture.data, output) if output.keep else None
        warned = {
            NOT_KEPT: output.keep and stored is None,
            NOT_WRITTEN: written is not None and not fits(written, output.output_format),
        }
        warnings = tuple(text for text, so in warned.items() if so)
        told = receipt(output.recipe, seed=picture.seed, version=__version__)
        return Presented(picture.index, picture.data, stored, picture.seed, told, warnings)

    async def _flagged(self, event: Painted, output: Output, passed: Passed, presented: Presented) -> str | None:
        """Open a review of a flagged picture; its id. One that cannot be reviewed is neither handed out nor kept."""
        if not passed.found:
            return None
        whose, stored = output.oversight, presented.stored
        texts = "\n".join(filter(None, (output.recipe.prompt, output.recipe.negative_prompt)))
        review = NewReview(
            whose.tenant,
            whose.key_id,
            event.job_id,
            passed.found,
            texts,
            presented.data,
            output.output_format,
            None if stored is None else stored.id,
        )
        try:
            return await self._inspection.flag(review)
        except (StorageFull, Unavailable):
            if stored is not None:
                await self._images.delete(stored.id, output.tenant)
            raise

    async def _cut_out(self, passed: Passed, output: Output) -> Image.Image:
        """The picture with a transparent background, if the recipe says so; the colours stay below it.

        A blurred picture stays opaque: its outline would give it away.
        """
        image = passed.image
        if self._matte is None or output.recipe.matte is None or passed.blurred:
            return image
        alpha = await self._matte.alpha(await asyncio.to_thread(from_image, image))
        return await asyncio.to_thread(_with_alpha, image, alpha)

    def _written(self, seed: int, output: Output) -> Written | None:
        embed = self._embed_recipe if output.embed_recipe is None else output.embed_recipe
        if not embed:
            return None
        told = receipt(output.recipe, seed=seed, version=__version__)
        return Written(infotext(output.recipe, seed=seed, version=__version__), told)

    async def _stored(self, data: bytes, output: Output) -> StoredImage | None:
        try:
            return await self._images.put(data, output.output_format, tenant=output.tenant)
        except (StorageFull, Unavailable) as error:
            log.error("a picture cannot be stored: %s", error.__cause__ or error)
            if not output.must_keep:
                return None
            if isinstance(error, Unavailable):
                raise
            raise StorageFull(NO_ADDRESS, param="response_format") from error


def _finished(picture: Picture, output: Output) -> Image.Image:
    """At its final size; what an inpaint keeps is kept in previews too."""
    return finish(picture, output.size, output.kept)


def _with_alpha(image: Image.Image, alpha: Picture) -> Image.Image:
    image.putalpha(to_image(alpha))
    return image


def _encoded(image: Image.Image, output: Output, written: Written | None = None) -> bytes:
    return encode(image, output.output_format, compression=output.compression, written=written)
