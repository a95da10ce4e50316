"""An engine with a small model of each kind, and a recipe for each thing it can be asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdxl_gateway.catalog.controls import open_control
from sdxl_gateway.catalog.ip_adapters import open_ip_adapter
from sdxl_gateway.config import Checkpoint
from sdxl_gateway.config import Control as Section
from sdxl_gateway.core.picture import NO_INPUTS, Inputs, Picture
from sdxl_gateway.core.recipe import NO_BLEND, Control, ImagePrompt, Phase, Recipe, Task
from sdxl_gateway.engine.canvas import Canvas
from sdxl_gateway.engine.engine import DiffusionEngine
from sdxl_gateway.engine.load import open_engine
from tests.kit.control_folders import control_folder, union_folder
from tests.kit.engine import mask, photo, process_settings
from tests.kit.ip_adapters import SIDE, section
from tests.kit.model_folders import inpainting_demo
from tests.kit.recipes import recipe
from tools.demo_refiner import write_demo_refiner

NEGATIVE = {"negative_prompt": "green"}
EDITED = {"steps": 5, "strength": 0.7, **NEGATIVE}


@dataclass(frozen=True)
class Asked:
    recipe: Recipe
    inputs: Inputs = NO_INPUTS

    def by(self, sampler: str, **changes: Any) -> Asked:
        return Asked(replace(self.recipe, sampler=sampler, **changes), self.inputs)


@dataclass(frozen=True)
class House:
    """An engine, and what it can be asked for, by name."""

    engine: DiffusionEngine
    tasks: dict[str, Asked]

    def begin(self, asked: Asked) -> Canvas:
        return self.engine.begin(asked.recipe, 0, asked.inputs)

    def paint(self, asked: Asked) -> Picture:
        canvas = self.begin(asked)
        while canvas.steps_done < canvas.steps_total:
            self.engine.step([canvas])
        return self.engine.finish(canvas).result()


def house(root: Path, **engine: Any) -> House:
    inpainting, refiner = inpainting_demo(root / "inpainting"), write_demo_refiner(root / "refiner")
    folders = {"demo": "demo", "inpainting": str(inpainting), "refiner": str(refiner)}
    controls = {
        "canny": Section(path=str(control_folder(root / "canny"))),
        "union": Section(path=str(union_folder(root / "union"))),
    }
    checkpoints = {name: Checkpoint(path=path) for name, path in folders.items()}
    config = process_settings(root, checkpoints, controls, **engine)
    config = config.model_copy(update={"ip_adapter": section(root / "adapter")})
    digests = {name: open_control(name, one).digest for name, one in controls.items()}
    digests["adapter"] = open_ip_adapter(config.ip_adapter).digest
    return House(open_engine(config, lambda _: None), _tasks(digests))


def _tasks(digests: dict[str, str]) -> dict[str, Asked]:
    image, repainted = Inputs({"image": photo()}), Inputs({"image": photo(), "mask": mask()})
    followed = (Control("canny", digests["canny"], 0.9), Control("union", digests["union"], 0.7, mode=3))
    prompted = ImagePrompt("adapter", digests["adapter"], (0.5,))
    handed_over = Phase("refiner", "refiner", NO_BLEND, from_step=1, from_share=0.6)
    return {
        "text": Asked(recipe(**NEGATIVE)),
        "image": Asked(recipe(task=Task.IMAGE_TO_IMAGE, **EDITED), image),
        "inpaint": Asked(recipe(task=Task.INPAINT, **EDITED), repainted),
        "inpainting UNet": Asked(recipe(task=Task.INPAINT, checkpoint="inpainting", **EDITED), repainted),
        "control": Asked(recipe(controls=followed), Inputs({"control:0": photo(), "control:1": photo()})),
        "references": Asked(recipe(image_prompt=prompted), Inputs({"reference:0": _reference()})),
        "refined": Asked(replace(recipe(steps=5, **NEGATIVE), later_phases=(handed_over,))),
    }


def _reference() -> Picture:
    return Picture(SIDE, SIDE, "RGB", bytes([200, 30, 90]) * (SIDE * SIDE))
