"""What the families of matte models were trained to read, and what they give; the table `matting.kind` picks from."""

from __future__ import annotations

from dataclasses import dataclass

Channels = tuple[float, float, float]
IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Kind:
    """`side` are the pixels of the square it reads where the file leaves them open.

    With `by_brightest` a picture is divided by its brightest value before mean and standard deviation are, else by 255.
    `logits` come out without a sigmoid. `stretched` answers are led to reach from 0 to 1, as their authors do it.
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
