"""The image prompt of a request's reference pictures, and warnings for those that are not used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sdxl_gateway.admission.uploads import Uploads
from sdxl_gateway.catalog.ip_adapters import IpAdapterFile
from sdxl_gateway.config import IpAdapter, Settings
from sdxl_gateway.core.ask import Ask, Operation, Reference, Upload
from sdxl_gateway.core.errors import InvalidImage, InvalidRequest
from sdxl_gateway.core.limits import REFERENCES
from sdxl_gateway.core.picture import Picture, reference_role
from sdxl_gateway.core.recipe import ImagePrompt
from sdxl_gateway.pictures.clip_view import clip_view
from sdxl_gateway.pictures.pixels import from_image

FULL_WEIGHT = 1.0
"""What an IP-Adapter was trained with: of a variation's picture, and of input_fidelity "high"."""


@dataclass(frozen=True, slots=True)
class Guide:
    """The image prompt, and its `pictures` by role, as the image encoder sees them."""

    image_prompt: ImagePrompt | None = None
    pictures: Mapping[str, Picture] = field(default_factory=dict)


class References:
    """Of a request these are `references`, images beyond the first, a markup, and the picture of a variation."""

    def __init__(self, settings: Settings, uploads: Uploads) -> None:
        self._section = settings.ip_adapter
        self._refuse = settings.edits.unused_images == "refuse"
        self._uploads = uploads

    def usable(self, ask: Ask, adapter: IpAdapterFile | None) -> tuple[Ask, tuple[str, ...]]:
        """The ask without what nothing is painted from, and a word for that. Raises InvalidImage if so set."""
        if adapter is not None:
            return ask, ()
        fields = [one.upload.field for one in _only_guiding(ask)]
        if fields and self._refuse:
            raise InvalidImage(f"No pictures guide this model: '{fields[0]}' cannot be used.", param=fields[0])
        fields += ["input_fidelity"] if ask.operation is Operation.VARY and ask.input_fidelity is not None else []
        warning = f"Not used: {', '.join(fields)}. This model has no IP-Adapter to be guided by."
        rest = replace(ask, images=ask.images[:1], markup=None, references=())
        return rest, (warning,) if fields else ()

    async def guide(self, ask: Ask, adapter: IpAdapterFile | None) -> Guide:
        """Decode the pictures. Raises InvalidRequest for too many, InvalidImage naming one that cannot be read."""
        asked = list(_asked(ask, self._section)) if adapter is not None else []
        if len(asked) > REFERENCES:
            raise _too_many(asked)
        weighed = [(one.upload, one.weight) for one in asked if one.weight]
        if adapter is None or not weighed:
            return Guide()
        pictures = {reference_role(at): await self._seen(one, adapter.side) for at, (one, _) in enumerate(weighed)}
        return Guide(ImagePrompt(adapter.name, adapter.digest, tuple(weight for _, weight in weighed)), pictures)

    async def _seen(self, upload: Upload, side: int) -> Picture:
        """The pictures as the encoder sees them, decoded one after another, as each may take a hundred megabytes."""
        image = await self._uploads.picture(upload)
        return from_image(await self._uploads.off_the_loop(clip_view, image, side))


def _only_guiding(ask: Ask) -> Iterator[Reference]:
    """The pictures that can only guide, with the weights they were given."""
    yield from map(Reference, ask.images[1:])
    if ask.markup is not None:
        yield Reference(ask.markup)
    yield from ask.references


def _asked(ask: Ask, section: IpAdapter) -> Iterator[Reference]:
    """All of them, with weights: a picture's own, else the one for all, else a replayed recipe's, else the usual."""
    varied = ask.images[:1] if ask.operation is Operation.VARY else ()
    guiding = [*map(Reference, varied), *_only_guiding(ask)]
    usual = [FULL_WEIGHT] * len(varied) + [section.weight] * (len(guiding) - len(varied))
    told = () if ask.replay is None else ask.replay.reference_weights
    fidelity = _fidelity(ask, section)
    for one, weight in zip(guiding, told if len(told) == len(guiding) else usual, strict=True):
        yield replace(one, weight=_first(one.weight, fidelity, weight))


def _fidelity(ask: Ask, section: IpAdapter) -> float | None:
    """`input_fidelity` as a weight; "low" is OpenAI's default."""
    match ask.input_fidelity:
        case "low":
            return section.weight
        case "high":
            return max(FULL_WEIGHT, section.weight)
        case float(weight):
            return weight
        case _:
            return None


def _first(*said: float | None) -> float | None:
    return next((weight for weight in said if weight is not None), None)


def _too_many(asked: Sequence[Reference]) -> InvalidRequest:
    return InvalidRequest(
        f"At most {REFERENCES} pictures guide a painting; {len(asked)} were given.",
        param=asked[REFERENCES].upload.field,
        code="array_above_max_length",
    )
