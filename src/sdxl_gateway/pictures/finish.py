"""Takes a picture at paint size, gives it at the asked size with the kept region of an inpaint put back bit for bit."""

from __future__ import annotations

from PIL import Image, ImageChops, ImageFilter

from sdxl_gateway.core.picture import Box, KeptRegion, Picture, Size
from sdxl_gateway.pictures.pixels import to_image


def finish(picture: Picture, size: Size, keep: KeptRegion | None = None) -> Image.Image:
    """The picture at `size`. Where `keep.mask` is 0 the result equals `keep.original` exactly.

    Raises ValueError when the kept region is of another size.
    """
    if keep is None:
        return _resized(to_image(picture), size)
    sizes = {(keep.original.width, keep.original.height), (keep.mask.width, keep.mask.height), tuple(size)}
    if len(sizes) != 1:
        raise ValueError(f"a kept region of another size: {sorted(sizes)}")
    box = keep.box or Box(0, 0, *size)
    painted = _resized(to_image(picture), Size(box.width, box.height))
    return _with_kept(painted, keep, box)


def _resized(image: Image.Image, size: Size) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _with_kept(painted: Image.Image, keep: KeptRegion, box: Box) -> Image.Image:
    """The work is confined to the box: a photo is far larger than what was painted of it."""
    edges = box.left, box.top, box.right, box.bottom
    result, mask = to_image(keep.original), to_image(keep.mask).crop(edges)
    original = result.crop(edges)
    matched = _led_over(painted, original, mask, keep.seam) if keep.seam else painted
    result.paste(Image.composite(matched, original, mask), edges[:2])
    return result


def _led_over(painted: Image.Image, original: Image.Image, mask: Image.Image, seam: int) -> Image.Image:
    """The painting, its colours shifted within `seam` pixels of what is kept by what they differ from it there.

    A decoder gives back no picture exactly, so what is kept, painted again, is a little off, and so is what adjoins it.
    """
    kept, reach = ImageChops.invert(mask), ImageFilter.BoxBlur(seam)
    # 255 at the edge of what is kept, 0 from `seam` pixels on.
    near = kept.filter(reach).point([min(255, 2 * value) for value in range(256)])

    def spread(difference: Image.Image) -> Image.Image:
        difference.putalpha(kept)
        beyond = difference.convert("RGBa").filter(reach).convert("RGBA").convert("RGB")
        return ImageChops.multiply(beyond, Image.merge("RGB", (near, near, near)))

    lighter, darker = ImageChops.subtract(original, painted), ImageChops.subtract(painted, original)
    return ImageChops.subtract(ImageChops.add(painted, spread(lighter)), spread(darker))
