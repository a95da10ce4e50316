"""The input and output conventions of the families of matte models that `matting.kind` may name."""

from __future__ import annotations

from dataclasses import dataclass

Channels = tuple[float, float, float]
IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Kind:
    """`side` is the side in pixels of the square input, if the file leaves it open.

    With `by_brightest` a picture is divided by its brightest value before it is normalised, else by 255. `logits`: the
    output lacks a sigmoid. `stretched`: the output is rescaled to reach from 0 to 1, as the authors do it.
    """

    side: int
    mean: Channels
    std: Channels
    by_brightest: bool = False
    logits: bool = False
    stretched: bool = False


KINDS = {
    "u2net": Kind(320, IMAGENET_MEAN, IMAGENET_STD, by_brightest=True, stretched=True),
    "isnet": Kind(1024, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), stretched=True),
    "birefnet": Kind(1024, IMAGENET_MEAN, IMAGENET_STD, logits=True),
}
"""From u2net_test.py of xuebinqin/U-2-Net, Inference.py of xuebinqin/DIS, and the README of ZhengPeng7/BiRefNet."""
