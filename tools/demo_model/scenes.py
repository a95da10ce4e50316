"""Draws the demo's scenes of coloured shapes and words the prompts that ask for them."""

from __future__ import annotations

import math
import random
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

SHAPES = ("circle", "square", "triangle", "star", "heart")
PALETTE: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "orange": (245, 140, 30),
    "yellow": (250, 225, 60),
    "green": (40, 160, 70),
    "blue": (40, 90, 215),
    "purple": (135, 55, 180),
    "black": (15, 15, 15),
    "white": (250, 250, 250),
    "gray": (128, 128, 128),
}
OBJECT_COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "black", "white")
BACKGROUNDS = ("white", "black", "gray", "red", "orange", "yellow", "green", "blue", "purple")
SIZES = ("small", "medium", "large")
RELATIONS = ("above", "below", "left of", "right of")
STYLES = ("flat", "outline", "stripes", "sunset")
CANVASES = ((256, 256), (312, 208), (208, 312))
SINGLE_RADIUS = {"small": 0.16, "medium": 0.28, "large": 0.40}
PAIR_RADIUS = {"small": 0.11, "medium": 0.165, "large": 0.21}
SUNSET_TOP = (230, 80, 75)
SUNSET_BOTTOM = (255, 210, 125)
HELD_OUT_SHARE = 10
SUPERSAMPLE = 4

Picture = NDArray[np.uint8]
Mask = NDArray[np.float32]
Point = tuple[float, float]


@dataclass(frozen=True)
class Thing:
    """One coloured shape as the prompt asks for it."""

    shape: str
    colour: str
    size: str = "medium"


@dataclass(frozen=True)
class Scene:
    """One or two things, how they lie to each other, and what is behind them."""

    things: tuple[Thing, ...]
    background: str
    relation: str = ""


@dataclass(frozen=True)
class Placed:
    """A thing's centre and radius in pixels."""

    thing: Thing
    x: float
    y: float
    radius: float


def default_background(things: tuple[Thing, ...]) -> str:
    """White, unless something white is asked for: then black, or gray beside something black."""
    colours = {thing.colour for thing in things}
    if "white" not in colours:
        return "white"
    return "gray" if "black" in colours else "black"


def is_held_out(scene: Scene) -> bool:
    """True for the attribute combinations that training never sees."""
    words = [scene.background, scene.relation]
    for thing in scene.things:
        words += [thing.shape, thing.colour, thing.size]
    return zlib.crc32("|".join(words).encode()) % HELD_OUT_SHARE == 0


def random_thing(rng: random.Random) -> Thing:
    """A thing with every attribute drawn at random."""
    size = rng.choices(SIZES, weights=(1, 2, 1))[0]
    return Thing(rng.choice(SHAPES), rng.choice(OBJECT_COLOURS), size)


def random_scene(rng: random.Random, pair_share: float = 0.4) -> Scene:
    """A scene with one thing or two; the background never has a thing's colour."""
    count = 2 if rng.random() < pair_share else 1
    things = tuple(random_thing(rng) for _ in range(count))
    colours = {thing.colour for thing in things}
    if rng.random() < 0.4:
        background = default_background(things)
    else:
        background = rng.choice([name for name in BACKGROUNDS if name not in colours])
    return Scene(things, background, rng.choice(RELATIONS) if count == 2 else "")


def training_scene(rng: random.Random, pair_share: float = 0.4) -> Scene:
    """A scene that is not held out."""
    while True:
        scene = random_scene(rng, pair_share)
        if not is_held_out(scene):
            return scene


def held_out_scene(rng: random.Random, pair_share: float = 0.4) -> Scene:
    """A scene that training never sees."""
    while True:
        scene = random_scene(rng, pair_share)
        if is_held_out(scene):
            return scene


def with_article(words: str) -> str:
    """The words after "a" or "an"."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def noun_phrase(thing: Thing) -> str:
    """The plain words for a thing, with the size left unsaid when it is medium."""
    size = "" if thing.size == "medium" else thing.size + " "
    return f"{size}{thing.colour} {thing.shape}"


def plain_prompt(scene: Scene) -> str:
    """The one canonical wording of a scene, background said."""
    words = with_article(noun_phrase(scene.things[0]))
    if scene.relation:
        words += f" {scene.relation} {with_article(noun_phrase(scene.things[1]))}"
    return f"{words} on {with_article(scene.background)} background"


def _relation_words(rng: random.Random, relation: str) -> str:
    if relation in ("left of", "right of"):
        return rng.choice((relation, f"to the {relation}", f"to the {relation}"))
    synonyms = {"above": ("above", "above", "over"), "below": ("below", "below", "under")}
    return rng.choice(synonyms[relation])


def _background_words(rng: random.Random, scene: Scene) -> str:
    if scene.background == default_background(scene.things) and rng.random() < 0.6:
        return ""
    name = scene.background
    if name == "gray" and rng.random() < 0.3:
        name = "grey"
    article = with_article(name)
    return rng.choice(
        (
            f" on {article} background",
            f" on {article} background",
            f", {name} background",
            f" with {article} background",
            f" on {name}",
            f" against {article} background",
        )
    )


def random_prompt(rng: random.Random, scene: Scene) -> str:
    """One of the many wordings of a scene."""
    articles = rng.random() < 0.7
    phrases = [noun_phrase(thing) for thing in scene.things]
    if articles:
        phrases = [with_article(phrase) for phrase in phrases]
    words = phrases[0]
    if scene.relation:
        words += f" {_relation_words(rng, scene.relation)} {phrases[1]}"
    if articles and rng.random() < 0.3:
        kind = rng.choice(("a picture", "a drawing", "an image", "a painting", "a photo"))
        words = f"{kind} of {words}"
    words += _background_words(rng, scene)
    if rng.random() < 0.1:
        words += "."
    if rng.random() < 0.2:
        words = words[0].upper() + words[1:]
    return words


def place(rng: random.Random, scene: Scene, width: int, height: int) -> list[Placed]:
    """Where the things go, with a little jitter in place and size."""
    short = min(width, height)
    spots: list[Point] = [(0.5, 0.5)]
    if scene.relation:
        spots = {
            "above": [(0.5, 0.27), (0.5, 0.73)],
            "below": [(0.5, 0.73), (0.5, 0.27)],
            "left of": [(0.27, 0.5), (0.73, 0.5)],
            "right of": [(0.73, 0.5), (0.27, 0.5)],
        }[scene.relation]
    radii = PAIR_RADIUS if scene.relation else SINGLE_RADIUS
    jitter = 0.015 if scene.relation else 0.03
    placed = []
    for thing, (x, y) in zip(scene.things, spots, strict=True):
        dx, dy = (rng.uniform(-jitter, jitter) * short for _ in range(2))
        radius = radii[thing.size] * short * rng.uniform(0.95, 1.05)
        placed.append(Placed(thing, x * width + dx, y * height + dy, radius))
    return placed


def outline_points(shape: str) -> list[Point]:
    """The shape's corner points in a box from -1 to 1, y downwards."""
    if shape == "circle":
        return [(math.cos(a), math.sin(a)) for a in np.linspace(0, 2 * math.pi, 72, endpoint=False)]
    if shape == "square":
        return [(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)]
    if shape == "triangle":
        return [(0.0, -0.95), (1.0, 0.85), (-1.0, 0.85)]
    if shape == "star":
        radii = (1.05, 0.45)
        angles = [math.pi * k / 5 - math.pi / 2 for k in range(10)]
        return [(radii[k % 2] * math.cos(a), radii[k % 2] * math.sin(a) + 0.08) for k, a in enumerate(angles)]
    points = []
    for t in np.linspace(0, 2 * math.pi, 72, endpoint=False):
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((x / 16.0, -(y + 2.5) / 15.5))
    return points


def _canvas(width: int, height: int) -> Image.Image:
    return Image.new("L", (width * SUPERSAMPLE, height * SUPERSAMPLE), 0)


def _shrunk(image: Image.Image) -> Mask:
    return np.asarray(image.reduce(SUPERSAMPLE), dtype=np.float32) / 255.0


def shape_mask(shape: str, x: float, y: float, radius: float, size: tuple[int, int], stroke: float = 0.0) -> Mask:
    """The shape's coverage of each pixel; with a stroke only a band inside its edge."""
    image = _canvas(*size)
    points = [((x + radius * px) * SUPERSAMPLE, (y + radius * py) * SUPERSAMPLE) for px, py in outline_points(shape)]
    ImageDraw.Draw(image).polygon(points, fill=255)
    if stroke:
        line = _canvas(*size)
        closed = [*points, *points[:2]]
        ImageDraw.Draw(line).line(closed, fill=255, width=round(2 * stroke * SUPERSAMPLE), joint="curve")
        image = ImageChops.multiply(image, line)
    return _shrunk(image)


def stripe_tint(colour: str) -> NDArray[np.float32]:
    """The second colour of a striped shape: lighter, or darker where lighter would not show."""
    base = np.asarray(PALETTE[colour], dtype=np.float32)
    if colour in ("white", "yellow"):
        return base * 0.45
    tint: NDArray[np.float32] = base * 0.35 + np.float32(255 * 0.65)
    return tint


def sunset_background(width: int, height: int) -> NDArray[np.float32]:
    """A warm gradient from coral at the top to pale gold at the bottom."""
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    top, bottom = (np.asarray(c, dtype=np.float32) for c in (SUNSET_TOP, SUNSET_BOTTOM))
    return np.broadcast_to(top + (bottom - top) * ramp, (height, width, 3)).copy()


def _fill(placed: Placed, style: str, height: int) -> NDArray[np.float32]:
    colour = np.asarray(PALETTE[placed.thing.colour], dtype=np.float32)
    if style != "stripes":
        return colour
    rows = (np.arange(height) + 0.5 - placed.y) / STRIPE_PERIOD
    wave = np.clip(np.sin(2 * np.pi * rows) * 5 + 0.5, 0, 1).astype(np.float32)
    striped: NDArray[np.float32] = colour + (stripe_tint(placed.thing.colour) - colour) * wave[:, None, None]
    return striped


STRIPE_PERIOD = 32.0


def draw(placed: list[Placed], background: str, size: tuple[int, int], style: str = "flat") -> Picture:
    """The picture of things already placed, in one of the styles."""
    width, height = size
    canvas = np.empty((height, width, 3), dtype=np.float32)
    canvas[:] = PALETTE[background]
    if style == "sunset":
        canvas = sunset_background(width, height)
    for item in placed:
        stroke = 5.0 + 0.09 * item.radius if style == "outline" else 0.0
        mask = shape_mask(item.thing.shape, item.x, item.y, item.radius, size, stroke)[:, :, None]
        canvas = canvas * (1 - mask) + _fill(item, style, height) * mask
    picture: Picture = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    return picture


def picture_of(rng: random.Random, scene: Scene, size: tuple[int, int], style: str = "flat") -> Picture:
    """A picture of the scene with its things placed at random near where they belong."""
    return draw(place(rng, scene, *size), scene.background, size, style)
