"""Takes a picture at paint size, gives it at the asked size with the kept region of an inpaint put back bit for bit."""

from __future__ import annotations

from PIL import Image

from sdxl_gateway.core.picture import KeptRegion, Picture, Size
from sdxl_gateway.pictures.pixels import to_image


def finish(picture: Picture, size: Size, keep: KeptRegion | None = None) -> Image.Image:
    """The picture at `size`. Where `keep.mask` is 0 the result equals `keep.original` exactly.

    Raises ValueError when the kept region is of another size.
    """
    image = to_image(picture)
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    return image if keep is None else _with_kept(image, keep)


def _with_kept(image: Image.Image, keep: KeptRegion) -> Image.Image:
    sizes = {(keep.original.width, keep.original.height), (keep.mask.width, keep.mask.height), image.size}
    if len(sizes) != 1:
        raise ValueError(f"a kept region of another size: {sorted(sizes)}")
    return Image.composite(image, to_image(keep.original), to_image(keep.mask))
