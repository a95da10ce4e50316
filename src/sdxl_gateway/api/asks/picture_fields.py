"""The fields that decide how an edit uses its input picture."""

from __future__ import annotations

from sdxl_gateway.api.asks.field import EDIT, FROM_IMAGE, Field, Kind
from sdxl_gateway.core.limits import LONGEST_SIDE


def picture_fields() -> tuple[Field, ...]:
    """Rows of the table in fields.py."""
    return (
        Field(
            "strength",
            Kind.NUMBER,
            "How far an edit may depart from its picture.",
            FROM_IMAGE,
            ("denoising_strength",),
            low=0,
            high=1,
            extension=True,
        ),
        Field(
            "padding",
            Kind.PADDING,
            "Pixels to paint beyond the picture's edges: one number, or `left`, `top`, `right` and `bottom`.",
            EDIT,
            ("outpaint",),
            extension=True,
        ),
        Field(
            "inpaint_padding",
            Kind.INTEGER,
            "Paint only the mask with so many pixels around it, at the model's own size; done for large pictures "
            "by default.",
            EDIT,
            ("padding_mask_crop",),
            low=0,
            high=LONGEST_SIDE,
            extension=True,
        ),
        Field(
            "seam",
            Kind.INTEGER,
            "The width in pixels, inside the mask, over which painted colours are blended into what is kept; 0 "
            "for a hard edge.",
            EDIT,
            ("mask_blur",),
            low=0,
            high=64,
            extension=True,
        ),
    )
