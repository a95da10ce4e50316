"""Picture: decoded pixels, of finished pictures and of uploads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal, NamedTuple

Mode = Literal["RGB", "L"]
CHANNELS: dict[Mode, int] = {"RGB": 3, "L": 1}


class Size(NamedTuple):
    """A size in pixels."""

    width: int
    height: int

    @classmethod
    def of(cls, text: str) -> Size:
        """The size that a text such as "1024x1536" says. Raises ValueError."""
        width, height = text.split("x")
        return cls(int(width), int(height))

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True, slots=True)
class Picture:
    """Rows of 8-bit pixels, top to bottom, no padding: `height * width * channels` bytes."""

    width: int
    height: int
    mode: Mode
    pixels: bytes

    def __post_init__(self) -> None:
        if len(self.pixels) != self.width * self.height * CHANNELS[self.mode]:
            raise ValueError(f"{len(self.pixels)} bytes for a {self.width}x{self.height} {self.mode} picture")

    @property
    def digest(self) -> str:
        """The sha256 (hex) of its size, mode and pixels."""
        return sha256(f"{self.width}x{self.height} {self.mode} ".encode() + self.pixels).hexdigest()


@dataclass(frozen=True, slots=True)
class Padding:
    """Pixels beyond each edge of a picture."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def around(self, size: Size) -> Size:
        """The size of a picture of `size` with this padding."""
        return Size(self.left + size.width + self.right, self.top + size.height + self.bottom)


NO_PADDING = Padding()


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a picture, in pixels; `right` and `bottom` are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def of(cls, edges: tuple[int, int, int, int]) -> Box:
        """The box of a tuple as Pillow has it."""
        return cls(*edges)

    @property
    def width(self) -> int:
        """In pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """In pixels."""
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class KeptRegion:
    """What an inpaint must not change: the upload as RGB and its mask as L, both at output size.

    Mask 0 keeps the upload, 255 takes the painting. The upload is kept as it is if its size is the output's, else it is
    resized (Lanczos), and cropped evenly if its aspect differs. Within `seam` pixels of what is kept, the painting's
    colours are blended into it. `box` is the part of the picture that was painted, None for all of it.
    """

    original: Picture
    mask: Picture
    seam: int = 0
    box: Box | None = None


REFERENCES = "reference:"
"""The prefix of the roles of reference pictures."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The pictures a recipe is painted from, by role; "image" and "mask" are already at its paint size."""

    pictures: Mapping[str, Picture] = field(default_factory=dict)

    @property
    def digests(self) -> tuple[tuple[str, str], ...]:
        """Each role with its picture's digest, sorted by role."""
        return tuple((role, self.pictures[role].digest) for role in sorted(self.pictures))

    @property
    def image(self) -> Picture | None:
        """The picture that an edit starts from: role "image"."""
        return self.pictures.get("image")

    @property
    def mask(self) -> Picture | None:
        """Role "mask": 255 where to repaint, 0 where to keep."""
        return self.pictures.get("mask")

    @property
    def painted_from(self) -> Mapping[str, Picture]:
        """All pictures but the references, which only the image encoder sees."""
        return {role: picture for role, picture in self.pictures.items() if not role.startswith(REFERENCES)}

    def reference(self, index: int) -> Picture | None:
        """Role "reference:index": a reference picture, as the image encoder sees it."""
        return self.pictures.get(reference_role(index))


def reference_role(index: int) -> str:
    """The role of the picture that a recipe's image prompt names at `index`."""
    return f"{REFERENCES}{index}"


NO_INPUTS = Inputs()
