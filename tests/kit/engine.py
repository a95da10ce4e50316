"""Recipes, pictures, and an engine that paints them on the device under test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdxl_gateway.config import DEMO_MODEL, Checkpoint, Control, EngineProcess, IpAdapter, Settings, Upscaler
from sdxl_gateway.config import Engine as EngineSection
from sdxl_gateway.core.events import Measurement
from sdxl_gateway.core.picture import NO_INPUTS, Inputs, Picture
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.engine.canvas import Canvas
from sdxl_gateway.engine.engine import DiffusionEngine
from sdxl_gateway.engine.load import open_engine
from sdxl_gateway.engine.models.loaders import LoadedCheckpoint
from tests.kit import recipes
from tests.kit.device import DEVICE

SIDE = 64


@dataclass
class Studio:
    engine: DiffusionEngine
    folder: Path
    data_directory: Path
    told: list[Measurement] = field(default_factory=list)

    def paint(self, recipe: Recipe, inputs: Inputs = NO_INPUTS, index: int = 0) -> Picture:
        canvas = self.engine.begin(recipe, index, inputs)
        while canvas.steps_done < canvas.steps_total:
            self.engine.step([canvas])
        return self.engine.finish(canvas).result()

    def step(self, canvases: Sequence[Canvas], steps: int = 99) -> None:
        """Take steps, together for canvases of the same batch key, while any has some left, at most `steps` times."""
        for _ in range(steps):
            going = [canvas for canvas in canvases if canvas.steps_done < canvas.steps_total]
            for key in dict.fromkeys(canvas.batch_key for canvas in going):
                self.engine.step([canvas for canvas in going if canvas.batch_key == key])

    def loaded(self) -> LoadedCheckpoint:
        """The demo checkpoint as it is loaded in the engine now."""
        return self.engine._pool.checkpoint("demo")

    def finish(self, canvases: Sequence[Canvas]) -> list[Picture]:
        return [self.engine.finish(canvas).result() for canvas in canvases]


def process_settings(
    data_directory: Path,
    checkpoints: dict[str, Checkpoint],
    controls: Mapping[str, Control] | None = None,
    **engine: Any,
) -> EngineProcess:
    fixed = {"device": DEVICE, "dtype": "float32", "threads": 1, "compiled_sizes": (), "warm_up": False}
    section = EngineSection.model_validate(fixed | engine)
    settings = Settings(
        data_directory=data_directory, checkpoints=checkpoints, engine=section, controls=dict(controls or {})
    )
    return settings.engine_process()


def studio(
    data_directory: Path,
    folder: Path = DEMO_MODEL,
    controls: Mapping[str, Control] | None = None,
    ip_adapter: IpAdapter | None = None,
    upscalers: Mapping[str, Upscaler] | None = None,
    **engine: Any,
) -> Studio:
    section = Checkpoint(path=str(folder))
    return studio_of(section, data_directory, controls, ip_adapter, upscalers, **engine)


def studio_of(
    section: Checkpoint,
    data_directory: Path,
    controls: Mapping[str, Control] | None = None,
    ip_adapter: IpAdapter | None = None,
    upscalers: Mapping[str, Upscaler] | None = None,
    **engine: Any,
) -> Studio:
    """A Studio whose demo checkpoint is replaced by the one of this section."""
    told: list[Measurement] = []
    config = process_settings(data_directory, {"demo": section}, controls, **engine)
    if ip_adapter is not None:
        config = config.model_copy(update={"ip_adapter": ip_adapter})
    config = config.model_copy(update={"upscalers": dict(upscalers or {})})
    return Studio(open_engine(config, told.append), Path(section.path), data_directory, told)


def recipe(prompt: str = "a red circle on a blue ground", **changes: Any) -> Recipe:
    return recipes.recipe(prompt=prompt, **changes)


def pixels(picture: Picture) -> NDArray[np.uint8]:
    channels = 3 if picture.mode == "RGB" else 1
    return np.frombuffer(picture.pixels, np.uint8).reshape(picture.height, picture.width, channels)


def difference(a: Picture, b: Picture) -> int:
    """The largest difference of any channel, of 255."""
    return int(np.abs(pixels(a).astype(int) - pixels(b).astype(int)).max())


def psnr(a: Picture, b: Picture) -> float:
    """Peak signal-to-noise ratio, in decibels; infinite for equal pictures."""
    error = float(((pixels(a).astype(float) - pixels(b)) ** 2).mean())
    return 10 * math.log10(255**2 / error) if error else math.inf


def contrast(picture: Picture) -> int:
    return int(np.ptp(pixels(picture)))


def photo(width: int = SIDE, height: int = SIDE) -> Picture:
    """A smooth picture with one edge."""
    y, x = np.mgrid[0:height, 0:width]
    rows = np.stack([255 * x / width, 255 * y / height, 180.0 * (x > width / 2)], axis=-1).astype(np.uint8)
    return Picture(width, height, "RGB", rows.tobytes())


def mask(width: int = SIDE, height: int = SIDE) -> Picture:
    """A mask to repaint a rectangle right of the middle; it has a soft edge."""
    rows = np.zeros((height, width), np.uint8)
    rows[height // 4 : height * 3 // 4, width // 2 : width * 7 // 8] = 255
    rows[height // 4, :] = 100
    return Picture(width, height, "L", rows.tobytes())
