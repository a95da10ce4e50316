"""A recipe and its pictures for each thing that an engine with everything can be asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from sdxl_gateway.admission.framing import Framing, framed
from sdxl_gateway.admission.sizes import Sizes
from sdxl_gateway.catalog.upscalers import open_upscaler
from sdxl_gateway.core.picture import NO_INPUTS, Inputs, Picture
from sdxl_gateway.core.prompt import TextReading
from sdxl_gateway.core.recipe import NO_BLEND, Phase, Recipe, Task, control_role
from sdxl_gateway.core.samplers import SAMPLERS
from sdxl_gateway.pictures.decode import Decoded
from tests.kit.admission import demo as demo_entry
from tests.kit.engine import SIDE, mask, photo, recipe
from tests.kit.everything import NET, TILED, WORD, Everything
from tests.kit.ip_adapters import SIDE as SEEN_SIDE
from tests.kit.ip_adapters import image_prompt, referenced
from tests.kit.spelt_chunks import Chunk

Asked = tuple[Recipe, Inputs]
Feature = Callable[[Everything], Asked]

RED, GREEN = "red circle " * 33, "squares and a star, " + "green " * 50
LONG, WEIGHTED, AWAY = f"{RED}and, two blue {GREEN}", "a (red:1.4) circle BREAK ((blue square))", "green"
SPELT: dict[str, list[Chunk]] = {
    LONG: [[(f"{RED}and,", 1.0)], [(f"two blue {GREEN}", 1.0)]],
    WEIGHTED: [[("a", 1.0), ("red", 1.4), ("circle", 1.0)], [("blue square", 1.21)]],
    AWAY: [[("green", 1.0)], []],
}
"""Two chunks each, so that the negative prompt is padded to two."""
STEPS = 4
WHOLE = "refiner for a whole picture"
FROM_PICTURES = (Task.IMAGE_TO_IMAGE, Task.INPAINT)


def asked(task: Task = Task.TEXT_TO_IMAGE, **changes: Any) -> Recipe:
    strength = 1.0 if task is Task.TEXT_TO_IMAGE else 0.8
    usual: dict[str, Any] = {"steps": STEPS, "strength": strength, "negative_prompt": "green"}
    return recipe(task=task, **(usual | changes))


def given(task: Task, controls: int = 0) -> Inputs:
    pictures = {control_role(i): shown(i) for i in range(controls)}
    if task is not Task.TEXT_TO_IMAGE:
        pictures["image"] = photo()
    if task is Task.INPAINT:
        pictures["mask"] = mask()
    return Inputs(pictures)


def shown(seed: int) -> Picture:
    """A control map: white lines on black, different for each seed."""
    rows = np.zeros((SIDE, SIDE, 3), np.uint8)
    drawn = np.random.default_rng(seed).integers(4, SIDE - 4, 3)
    rows[drawn, :] = 255
    rows[:, drawn[::-1]] = 200
    return Picture(SIDE, SIDE, "RGB", rows.tobytes())


def plain(_: Everything, task: Task = Task.TEXT_TO_IMAGE, **changes: Any) -> Asked:
    return asked(task, **changes), given(task)


def small_mask(_: Everything) -> Asked:
    """A quarter of a large picture, painted in a crop around its mask."""
    full, hole = 3 * SIDE, (80, 72, 112, 104)
    image, repainted = Image.frombytes("RGB", (full, full), photo(full, full).pixels), Image.new("L", (full, full), 0)
    repainted.paste(255, hole)
    native = replace(demo_entry(), native_area=SIDE * SIDE, native_pixels=SIDE * SIDE)
    cut = framed(Decoded(image, repainted), Sizes(full, full, full, full), native, Framing(padding=16, seam=0))
    return asked(Task.INPAINT), cut.inputs


def words(house: Everything, prompt: str, **reading: Any) -> Asked:
    taught = TextReading(embeddings=house.words if WORD in prompt else (), **reading)
    return asked(prompt=prompt, negative_prompt=AWAY, reading=taught), NO_INPUTS


def refined(_: Everything, task: Task = Task.TEXT_TO_IMAGE, share: float = 0.6, **changes: Any) -> Asked:
    """A recipe with a refiner; `from_step` is a guess, which the engine replaces by the step of `share`."""
    phase = Phase("fine", "fine", NO_BLEND, from_step=1, from_share=share)
    return asked(task, **({"steps": 5, "later_phases": (phase,)} | changes)), given(task)


def controlled(house: Everything, names: tuple[str, ...], task: Task = Task.TEXT_TO_IMAGE, **changes: Any) -> Asked:
    controls = tuple(replace(house.controls[name], **changes) for name in names)
    return asked(task, controls=controls), given(task, len(names))


def guided_by(house: Everything, weights: tuple[float, ...] = (0.7,), task: Task = Task.TEXT_TO_IMAGE) -> Asked:
    one = asked(task, image_prompt=image_prompt(house.studio, *weights))
    return one, referenced(*map(seen, range(len(weights))), **given(task).pictures)


def enlarged(house: Everything) -> Asked:
    net = open_upscaler(NET, house.config.upscalers[NET])
    return plain(house, upscaler=NET, upscaler_digest=net.digest)


def seen(number: int) -> Picture:
    """A picture of the size that the image encoder takes."""
    first = photo(SEEN_SIDE, SEEN_SIDE)
    return Picture(SEEN_SIDE, SEEN_SIDE, "RGB", bytes((value + 90 * number) % 256 for value in first.pixels))


def controlled_by(names: tuple[str, ...]) -> dict[str, Feature]:
    return {f"{' and '.join(names)}, {task}": partial(controlled, names=names, task=task) for task in Task}


FEATURES: Mapping[str, Feature] = {
    **{
        f"{name} {one.schedules[-1]}": partial(plain, sampler=name, schedule=one.schedules[-1])
        for name, one in SAMPLERS.items()
    },
    **{task.value: partial(plain, task=task) for task in FROM_PICTURES},
    "a small mask": small_mask,
    "nine channels": partial(plain, task=Task.INPAINT, checkpoint="nine"),
    "no guidance": partial(plain, guidance_scale=1.0, negative_prompt=""),
    "guidance_rescale": partial(plain, guidance_rescale=0.7, guidance_scale=9.0),
    "guidance_end": partial(plain, guidance_end=0.5),
    "eta": partial(plain, sampler="ddim", eta=0.5),
    "clip skip": partial(plain, reading=TextReading(clip_skip=3)),
    "long prompts": partial(words, prompt=LONG, max_chunks=32),
    "weighted prompts": partial(words, prompt=WEIGHTED, max_chunks=32, syntax="a1111"),
    "textual inversions": partial(words, prompt=f"a {WORD} circle"),
    "single files": partial(plain, checkpoint="file"),
    "v-prediction with zero SNR": partial(plain, checkpoint="velocity", guidance_scale=1.5),
    "refiner": refined,
    "refiner after a picture": partial(refined, task=Task.IMAGE_TO_IMAGE),
    WHOLE: partial(plain, task=Task.IMAGE_TO_IMAGE, checkpoint="fine"),
    **controlled_by(("canny",)),
    **controlled_by(("canny", "depth")),
    **controlled_by(("union",)),
    "a control's start and end": partial(controlled, names=("canny",), start=0.25, end=0.75),
    "IP-Adapter": guided_by,
    "IP-Adapter, inpaint": partial(guided_by, task=Task.INPAINT),
    "several references": partial(guided_by, weights=(0.6, 0.6)),
    "enlarging by a net": enlarged,
    "tiled decoding": partial(plain, checkpoint=TILED),
}
"""Named like the rows of docs/PARITY.md; a sampler is tested with its last schedule."""
