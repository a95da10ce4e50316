"""Takes a picture at paint size, gives it at the requested size, the kept region of an inpaint restored exactly."""

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
    """Works inside the box only: a photo may be far larger than the part that was painted."""
    edges = box.left, box.top, box.right, box.bottom
    result, mask = to_image(keep.original), to_image(keep.mask).crop(edges)
    original = result.crop(edges)
    matched = _seam_corrected(painted, original, mask, keep.seam) if keep.seam else painted
    result.paste(Image.composite(matched, original, mask), edges[:2])
    return result


def _seam_corrected(painted: Image.Image, original: Image.Image, mask: Image.Image, seam: int) -> Image.Image:
    """The painting, its colours shifted within `seam` pixels of the kept region by the painting's error in that region.

    A VAE reproduces no picture exactly, so the kept region, as decoded, is a little off, and so is what adjoins it.
    """
    kept, reach = ImageChops.invert(mask), ImageFilter.BoxBlur(seam)
    # 255 at the edge of the kept region, 0 from `seam` pixels on.
    near = kept.filter(reach).point([min(255, 2 * value) for value in range(256)])

    def spread(difference: Image.Image) -> Image.Image:
        difference.putalpha(kept)
        blurred = difference.convert("RGBa").filter(reach).convert("RGBA").convert("RGB")
        return ImageChops.multiply(blurred, Image.merge("RGB", (near, near, near)))

    lighter, darker = ImageChops.subtract(original, painted), ImageChops.subtract(painted, original)
    return ImageChops.subtract(ImageChops.add(painted, spread(lighter)), spread(darker))
