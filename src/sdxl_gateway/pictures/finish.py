"""Takes a picture at paint size, gives it at the asked size with the kept region of an inpaint put back bit for bit."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from sdxl_gateway.core.picture import Picture


@dataclass(frozen=True, slots=True)
class KeptRegion:
    """The upload as RGB and its mask as L, both at output size; mask 0 keeps the upload, 255 takes the painting."""

    original: Picture
    mask: Picture


def finish(picture: Picture, *, width: int, height: int, keep: KeptRegion | None = None) -> Picture:
    """The picture at `width` x `height`. Where `keep.mask` is 0 the result equals `keep.original` exactly.

    Raises ValueError when the kept region is of another size.
    """
    image = _enlarged(to_image(picture), width, height)
    if keep is not None:
        image = _with_kept(image, keep)
    return from_image(image)


def to_image(picture: Picture) -> Image.Image:
    return Image.frombytes(picture.mode, (picture.width, picture.height), picture.pixels)


def from_image(image: Image.Image) -> Picture:
    if image.mode not in ("RGB", "L"):
        image = image.convert("RGB")
    return Picture(image.width, image.height, "L" if image.mode == "L" else "RGB", image.tobytes())


def _enlarged(image: Image.Image, width: int, height: int) -> Image.Image:
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)


def _with_kept(image: Image.Image, keep: KeptRegion) -> Image.Image:
    sizes = {(keep.original.width, keep.original.height), (keep.mask.width, keep.mask.height), image.size}
    if len(sizes) != 1:
        raise ValueError(f"a kept region of another size: {sorted(sizes)}")
    return Image.composite(image, to_image(keep.original), to_image(keep.mask))
