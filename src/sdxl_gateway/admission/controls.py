"""Resolves the controls of an Ask, and makes the maps they follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from sdxl_gateway.admission.framing import Framed
from sdxl_gateway.admission.uploads import Uploads
from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.controls import ControlEntry
from sdxl_gateway.core.ask import ControlRef
from sdxl_gateway.core.errors import InvalidRequest, RecipeChanged, Refusal
from sdxl_gateway.core.picture import Picture, Size
from sdxl_gateway.core.recipe import Control, Preprocessor, control_role
from sdxl_gateway.core.text import shown
from sdxl_gateway.pictures.decode import cover
from sdxl_gateway.pictures.pixels import from_image
from sdxl_gateway.pictures.preprocess import PREPROCESSORS, preprocess

ASPECTS_ALIKE = 0.01
"""Aspects that differ by less count as equal, as sides are whole pixels, and painted ones multiples of 8."""


@dataclass(frozen=True, slots=True)
class Map:
    """The map of a control, at paint size, and warnings about it."""

    picture: Picture
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Maps:
    """The maps of a request's controls, by role."""

    pictures: Mapping[str, Picture] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class ControlResolver:
    """Finds types among the configured ControlNets, regardless of case."""

    def __init__(self, entries: Mapping[str, ControlEntry]) -> None:
        self._entries = entries

    def resolve(self, refs: Sequence[ControlRef], checkpoint: CheckpointEntry) -> tuple[Control, ...]:
        """Raises InvalidRequest naming the entry, RecipeChanged for another ControlNet than the earlier picture's."""
        return tuple(self._control(ref, checkpoint) for ref in refs)

    def _control(self, ref: ControlRef, checkpoint: CheckpointEntry) -> Control:
        entry = self._entry(ref)
        if not entry.fits(checkpoint.shapes):
            raise InvalidRequest(
                f"The control '{entry.name}' does not fit the checkpoint '{checkpoint.name}': it was made for a UNet"
                " of other widths.",
                param=f"{ref.param}.type",
                code="control_does_not_fit",
            )
        made_by = _preprocessor(ref, entry)
        return Control(entry.name, entry.digest, ref.weight, ref.start, ref.end, _mode(ref, entry), made_by)

    def _entry(self, ref: ControlRef) -> ControlEntry:
        entry = next((entry for name, entry in self._entries.items() if name.lower() == ref.type.lower()), None)
        if entry is None:
            raise self._unknown(ref)
        if ref.digest not in (None, entry.digest):
            message = f"The control '{entry.name}' is another file now: its digest is {entry.digest}."
            raise RecipeChanged(message, param=f"{ref.param}.digest")
        return entry

    def _unknown(self, ref: ControlRef) -> Refusal:
        if not self._entries:
            reason = "No ControlNets are configured: each is a [controls.TYPE] section of the server's config.toml."
        else:
            known = ", ".join(f"'{entry.name}'" for entry in self._entries.values())
            reason = f"There is no control of the type {shown(ref.type)}. Supported values are: {known}."
        if ref.digest is not None:
            return RecipeChanged(reason, param=f"{ref.param}.type")
        return InvalidRequest(reason, param=f"{ref.param}.type", code="control_not_found")


def _mode(ref: ControlRef, entry: ControlEntry) -> int | None:
    """The kind of map for a union. Raises InvalidRequest if it is missing or unknown."""
    if not entry.union:
        if ref.mode is not None:
            message = f"Invalid '{ref.param}.mode': the control '{entry.name}' reads one kind of map and has no modes."
            raise InvalidRequest(message, param=f"{ref.param}.mode")
        return None
    mode = entry.mode if ref.mode is None else entry.mode_called(ref.mode)
    if mode is None:
        known = ", ".join(f"'{names[0]}'" for names in entry.modes)
        given = "is missing" if ref.mode is None else f"is not {shown(ref.mode)}"
        message = f"The control '{entry.name}' reads several kinds of maps and its mode {given}. Supported values are: "
        raise InvalidRequest(f"{message}{known}.", param=f"{ref.param}.mode")
    return mode


def _preprocessor(ref: ControlRef, entry: ControlEntry) -> Preprocessor | None:
    """What makes the map; None if the picture is one. Raises InvalidRequest if there is no suitable preprocessor."""
    if ref.preprocess is True and entry.preprocessor is None:
        known = ", ".join(f"'{name}'" for name in PREPROCESSORS)
        raise InvalidRequest(
            f"The control '{entry.name}' has no preprocessor of its own: send a ready map with 'preprocess' false, or"
            f" name one of {known}.",
            param=f"{ref.param}.preprocess",
        )
    if ref.preprocess is None or ref.preprocess is True:
        return entry.preprocessor
    return next((name for name in PREPROCESSORS if name == ref.preprocess), None)


async def maps_of(refs: Sequence[ControlRef], controls: Sequence[Control], uploads: Uploads, frame: Framed) -> Maps:
    """The maps, made one after another, as full-size pictures are large. Raises InvalidImage naming the entry."""
    found = [
        await uploads.off_the_loop(_map, await uploads.picture(ref.image), frame, control.preprocessor, ref.param)
        for ref, control in zip(refs, controls, strict=True)
    ]
    pictures = {control_role(i): one.picture for i, one in enumerate(found)}
    return Maps(pictures, tuple(warning for one in found for warning in one.warnings))


def _map(image: Image.Image, frame: Framed, made_by: Preprocessor | None, param: str) -> Map:
    """The map; the picture is cropped as a picture to start from is, before it is preprocessed."""
    fitted = _framed_alike(image, frame)
    made = fitted if made_by is None else preprocess(fitted, made_by)
    return Map(from_image(made), _cut_warning(Size(*image.size), Size(frame.sizes.width, frame.sizes.height), param))


def _framed_alike(image: Image.Image, frame: Framed) -> Image.Image:
    """The picture at paint size; if only a mask's surroundings are painted, the same part of it."""
    if frame.kept is None or (box := frame.kept.box) is None:
        return cover(image, *frame.sizes.painted, Image.Resampling.LANCZOS)
    whole = cover(image, frame.sizes.width, frame.sizes.height, Image.Resampling.LANCZOS)
    part = whole.crop((box.left, box.top, box.right, box.bottom))
    return cover(part, *frame.sizes.painted, Image.Resampling.LANCZOS)


def _cut_warning(given: Size, wanted: Size, param: str) -> tuple[str, ...]:
    if abs(given.width * wanted.height / (given.height * wanted.width) - 1) <= ASPECTS_ALIKE:
        return ()
    told = f"{given} was cut evenly to that of {wanted}"
    return (f"The picture of {param} has another aspect than the painting: {told}.",)
