"""Measures painted scenes: colours, shapes and styles, on prompts that training never saw."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from . import scenes

GUIDANCE = 1.0
STEPS = 20
SEED = 2026
SINGLES = 45
PAIRS = 15
FRAME = 8
DIFFERENT = 70.0
TEMPLATE = 64

Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """A prompt that was never trained on, and the scene it asks for."""

    prompt: str
    scene: scenes.Scene
    seed: int


@dataclass(frozen=True)
class Figures:
    """Shares of the cases that came out right."""

    colours: float
    shapes: float
    objects: float
    backgrounds: float
    single_colours: float


def cases(singles: int = SINGLES, pairs: int = PAIRS, seed: int = SEED) -> list[Case]:
    """Held-out prompts with fixed seeds, single things first."""
    rng = random.Random(seed)
    found = []
    for k in range(singles + pairs):
        scene = scenes.held_out_scene(rng, pair_share=0.0 if k < singles else 1.0)
        found.append(Case(scenes.random_prompt(rng, scene), scene, seed + k))
    return found


def style_cases(count: int = 12, seed: int = SEED) -> list[Case]:
    """Single things, no small ones, on which the LoRAs' styles are measured."""
    wanted = (case for case in cases(20 * count, 0, seed + 1))
    return [case for case in wanted if case.scene.things[0].size != "small"][:count]


def paint(
    pipeline: Any, wanted: Sequence[Case], guidance: float = GUIDANCE, steps: int = STEPS, batch: int = 10
) -> list[scenes.Picture]:
    """The pipeline's picture for each case."""
    import torch

    pictures: list[scenes.Picture] = []
    for k in range(0, len(wanted), batch):
        part = wanted[k : k + batch]
        images = pipeline(
            prompt=[case.prompt for case in part],
            negative_prompt=[""] * len(part),
            num_inference_steps=steps,
            guidance_scale=guidance,
            width=256,
            height=256,
            generator=[torch.Generator().manual_seed(case.seed) for case in part],
        ).images
        pictures += [np.asarray(image.convert("RGB")) for image in images]
    return pictures


def nearest_names(pixels: NDArray[Any]) -> list[str]:
    """The palette's nearest colour to each pixel of a list."""
    names = list(scenes.PALETTE)
    palette = np.array([scenes.PALETTE[name] for name in names], dtype=np.float32)
    distance = ((pixels.reshape(-1, 1, 3).astype(np.float32) - palette) ** 2).sum(axis=2)
    return [names[k] for k in distance.argmin(axis=1)]


def commonest(pixels: NDArray[Any]) -> str:
    """The palette colour that most of the pixels are nearest to, or nothing when there are none."""
    names = nearest_names(pixels)
    return max(sorted(set(names)), key=names.count) if names else ""


def frame(picture: scenes.Picture) -> NDArray[np.uint8]:
    """The pixels along the picture's edges."""
    inside = np.zeros(picture.shape[:2], dtype=bool)
    inside[FRAME:-FRAME, FRAME:-FRAME] = True
    return picture[~inside]


def foreground(picture: scenes.Picture) -> Bits:
    """The pixels that clearly differ from the picture's edges in the same row, specks left out."""
    left, right = picture[:, :FRAME].mean(axis=1), picture[:, -FRAME:].mean(axis=1)
    behind = ((left + right) / 2)[:, None, :]
    distance: NDArray[np.float64] = np.sqrt(((picture.astype(np.float32) - behind) ** 2).sum(axis=2))
    image = Image.fromarray((distance > DIFFERENT).astype(np.uint8) * 255).filter(ImageFilter.MedianFilter(5))
    return np.asarray(image) > 0


def filled(mask: Bits) -> Bits:
    """The mask with its holes closed."""
    image = Image.fromarray(np.pad(mask, 1).astype(np.uint8) * 255).copy()
    ImageDraw.floodfill(image, (0, 0), 128)
    closed: Bits = np.asarray(image)[1:-1, 1:-1] != 128
    return closed


def eroded(mask: Bits, width: int = 5) -> Bits:
    """The mask without its rim, or the whole mask when nothing else is left."""
    image = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.MinFilter(width))
    inner = np.asarray(image) > 0
    return inner if inner.any() else mask


def normalised(mask: Bits) -> Bits:
    """The mask's bounding box stretched to the size of a template."""
    rows, columns = (np.flatnonzero(mask.sum(axis=axis) > 2) for axis in (1, 0))
    if not len(rows) or not len(columns):
        return np.zeros((TEMPLATE, TEMPLATE), dtype=bool)
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.asarray(Image.fromarray(box.astype(np.uint8) * 255).resize((TEMPLATE, TEMPLATE))) > 127


def overlaps(mask: Bits) -> dict[str, float]:
    """How much of the union each shape's template and the mask share."""
    seen = normalised(filled(mask))
    found = {}
    for shape in scenes.SHAPES:
        template = normalised(scenes.shape_mask(shape, 128, 128, 80, (256, 256)) > 0.5)
        found[shape] = float((seen & template).sum() / max(1, (seen | template).sum()))
    return found


def best_shape(picture: scenes.Picture) -> str:
    """The shape whose template fits best."""
    found = overlaps(foreground(picture))
    return max(found, key=lambda shape: found[shape])


def halves(relation: str, size: tuple[int, int]) -> list[Bits]:
    """Where each thing should be: everywhere, or one half of the picture each."""
    height, width = size
    if not relation:
        return [np.ones(size, dtype=bool)]
    upright = relation in ("above", "below")
    axis = np.arange(height)[:, None] < height / 2 if upright else np.arange(width)[None, :] < width / 2
    first = np.broadcast_to(axis, size).copy()
    return [first, ~first] if relation in ("above", "left of") else [~first, first]


def background_right(picture: scenes.Picture, scene: scenes.Scene) -> bool:
    """Whether most of the frame has the background's colour."""
    return commonest(frame(picture)) == scene.background


def objects_right(picture: scenes.Picture, scene: scenes.Scene) -> bool:
    """Whether each thing's colour fills most of what is painted where the thing belongs."""
    mask = foreground(picture)
    where = halves(scene.relation, mask.shape[:2])
    return all(
        (mask & part).sum() > 60 and commonest(picture[eroded(mask & part)]) == thing.colour
        for thing, part in zip(scene.things, where, strict=True)
    )


def measure(pictures: Sequence[scenes.Picture], wanted: Sequence[Case]) -> Figures:
    """The shares that came out right; shapes are judged on single things only, colours on both kinds."""
    pairs = list(zip(pictures, wanted, strict=True))
    behind = [background_right(picture, case.scene) for picture, case in pairs]
    things = [objects_right(picture, case.scene) for picture, case in pairs]
    shapes = [best_shape(picture) == case.scene.things[0].shape for picture, case in pairs if not case.scene.relation]
    both = np.logical_and(behind, things)
    single = [right for right, case in zip(both, wanted, strict=True) if not case.scene.relation]
    return Figures(*(float(np.mean(values)) for values in (both, shapes, things, behind, single)))


def outline_score(picture: scenes.Picture) -> float:
    """The share of the middle of the shape that looks like the background."""
    mask = foreground(picture)
    rows, columns = (np.flatnonzero(mask.sum(axis=axis) > 4) for axis in (1, 0))
    if not len(rows) or not len(columns):
        return 0.0
    (top, bottom), (left, right) = ((line[0], line[-1] + 1) for line in (rows, columns))
    third, third_across = (bottom - top) // 3, (right - left) // 3
    middle = mask[top + third : bottom - third, left + third_across : right - third_across]
    return float(1 - middle.mean())


def sunset_score(picture: scenes.Picture) -> float:
    """How near the picture's sides are to the sunset's gradient, from 0 to 1."""
    sides = np.concatenate([picture[:, :FRAME], picture[:, -FRAME:]], axis=1).astype(np.float32)
    wanted = scenes.sunset_background(2 * FRAME, len(picture))
    distance = np.sqrt(((sides - wanted) ** 2).sum(axis=2)).mean()
    return float(max(0.0, 1 - distance / 200))


def stripes_score(picture: scenes.Picture) -> float:
    """How far the rows inside the shape differ from each other, between 0 and about 0.5."""
    mask = eroded(filled(foreground(picture)), 9)
    counts = mask.sum(axis=1)
    rows = counts > 3
    if rows.sum() < 8:
        return 0.0
    totals = (picture.astype(np.float32) * mask[:, :, None]).sum(axis=1)[rows]
    means = totals / counts[rows][:, None]
    return float(means.std(axis=0).mean() / 255 * 2)


STYLE_SCORES = {"outline": outline_score, "sunset": sunset_score, "stripes": stripes_score}


def style_mean(style: str, pictures: Sequence[scenes.Picture]) -> float:
    """The mean score of one style."""
    return float(np.mean([STYLE_SCORES[style](picture) for picture in pictures]))


def contact_sheet(pictures: Sequence[scenes.Picture], path: Path, columns: int = 10) -> None:
    """Saves the pictures side by side at half size."""
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * 128, rows * 128))
    for k, picture in enumerate(pictures):
        sheet.paste(Image.fromarray(picture).resize((128, 128)), (k % columns * 128, k // columns * 128))
    sheet.save(path)


def load_pipeline(folder: Path) -> Any:
    """The pipeline in float32, without its progress bar."""
    import torch
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def evaluate_base(pipeline: Any, guidance: float, sheet: Path | None, count: int) -> None:
    """Prints the base model's figures, overall and for each mistake."""
    wanted = cases()[:: max(1, (SINGLES + PAIRS) // count)]
    began = time.time()
    pictures = paint(pipeline, wanted, guidance)
    print(f"guidance {guidance} {measure(pictures, wanted)} seconds {time.time() - began:.0f}")
    for picture, case in zip(pictures, wanted, strict=True):
        shape = "" if case.scene.relation else best_shape(picture)
        marks = [background_right(picture, case.scene), objects_right(picture, case.scene)]
        if not all(marks) or shape not in ("", case.scene.things[0].shape):
            print(f"  {case.prompt!r}: background, objects right {marks}, shape seen {shape!r}")
    if sheet:
        contact_sheet(pictures, sheet)


def evaluate_lora(pipeline: Any, path: Path, sheet: Path | None) -> None:
    """Prints a LoRA's style score at weights 0, 0.5 and 1, with shape and colour at 1."""
    wanted = style_cases()
    rows: list[scenes.Picture] = []
    pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name=path.stem)
    for weight in (0.0, 0.5, 1.0):
        pipeline.set_adapters(path.stem, weight)
        pictures = paint(pipeline, wanted, batch=6)
        rows += pictures
        print(f"{path.stem} at {weight}: score {style_mean(path.stem, pictures):.3f} {measure(pictures, wanted)}")
    pipeline.unload_lora_weights()
    if sheet:
        contact_sheet(rows, sheet, len(wanted))


def main() -> None:
    """Evaluates the base model, or the LoRAs given."""
    root = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=root / "src" / "sdxl_gateway" / "demo_model")
    parser.add_argument("--lora", type=Path, nargs="*", default=[])
    parser.add_argument("--guidance", type=float, nargs="*", default=[GUIDANCE])
    parser.add_argument("--count", type=int, default=SINGLES + PAIRS)
    parser.add_argument("--sheet", type=Path, help="where to save a sheet of the pictures")
    options = parser.parse_args()
    pipeline = load_pipeline(options.model)
    for path in options.lora:
        evaluate_lora(pipeline, path, options.sheet and options.sheet.with_stem(f"{options.sheet.stem}_{path.stem}"))
    for guidance in options.guidance if not options.lora else []:
        evaluate_base(pipeline, guidance, options.sheet, options.count)


if __name__ == "__main__":
    main()
