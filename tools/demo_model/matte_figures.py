"""Measures the shipped matte net on drawings and paintings it never saw, and keeps the figures beside its sha256."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from sdxl_gateway.config import DEMO_MATTE, DEMO_MODEL
from sdxl_gateway.matting.kinds import KINDS
from sdxl_gateway.matting.net import MatteNet
from sdxl_gateway.nets.session import Stop

from . import evaluate, matte, scenes
from .figures import Record

DRAWN = 200
PAINTED = 20
SEED = 2027
Alpha = NDArray[np.float32]


@dataclass(frozen=True)
class MatteFigures:
    """Intersection over union of what is more than half there: mean and worst, of drawings and of paintings.

    `drawn_error` is the mean difference of alpha itself, 0 to 1; of a painting nobody knows the true alpha.
    """

    drawn: float
    drawn_worst: float
    drawn_error: float
    painted: float
    painted_worst: float


RECORD = Record("matte_figures.json", MatteFigures, (DEMO_MATTE,))


def seen_alpha(net: MatteNet, picture: scenes.Picture) -> Alpha:
    """What the server would give the picture, 0 to 1."""
    seen = np.asarray(net.alpha(Image.fromarray(picture), Stop()), dtype=np.float32)
    return seen / np.float32(255)


def overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union."""
    return float((a & b).sum() / max(1, (a | b).sum()))


def held_out_drawings(count: int) -> list[matte.Pair]:
    """Scenes that training never saw, a little soft, as paintings are; with their alpha."""
    rng = random.Random(SEED)
    return [_drawing(rng) for _ in range(count)]


def _drawing(rng: random.Random) -> matte.Pair:
    size = rng.choice(scenes.CANVASES)
    picture, alpha = matte.drawn_pair(rng, scenes.held_out_scene(rng), size)
    soft = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.8)))
    noise = np.random.default_rng(rng.randrange(2**32)).normal(0, rng.uniform(0, 3), picture.shape)
    return np.clip(np.asarray(soft) + noise, 0, 255).astype(np.uint8), alpha


def paintings(count: int) -> list[scenes.Picture]:
    """What the demo model paints of prompts that training never saw."""
    return evaluate.paint(evaluate.load_pipeline(DEMO_MODEL), evaluate.cases(count - count // 4, count // 4, SEED))


def measured(net: MatteNet, drawings: Iterable[matte.Pair], painted: Iterable[scenes.Picture]) -> MatteFigures:
    """A painting's subject is what clearly differs in colour from its edges (evaluate.foreground)."""
    pairs = [(seen_alpha(net, picture), alpha) for picture, alpha in drawings]
    drawn = [overlap(seen > 0.5, alpha > 0.5) for seen, alpha in pairs]
    errors = [float(np.abs(seen - alpha).mean()) for seen, alpha in pairs]
    found = [overlap(seen_alpha(net, picture) > 0.5, evaluate.foreground(picture)) for picture in painted]
    return MatteFigures(_mean(drawn), min(drawn), _mean(errors), _mean(found), min(found, default=0.0))


def _mean(values: list[float]) -> float:
    return sum(values) / max(1, len(values))


def main() -> None:
    """Writes `matte_figures.json`."""
    import torch

    torch.set_num_threads(1)
    net = MatteNet(DEMO_MATTE, KINDS["u2net"], 1)
    figures = measured(net, held_out_drawings(DRAWN), paintings(PAINTED))
    RECORD.write(figures)


if __name__ == "__main__":
    main()
