"""Asks a server on the demo model for a picture of each feature, writes docs/GALLERY.md from its answers.

`make gallery`.
"""

from __future__ import annotations

import base64
import io
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from sdxl_gateway.pictures.canny import canny
from tests.kit.servers import server
from tools.demo_model import edges, reference, refiner, scenes, upscaler

DOCS = Path(__file__).parents[1] / "docs"
FOLDER = DOCS / "images" / "gallery"
SIZE = "256x256"
SIDE = 256
SETTINGS = {
    "checkpoints__demo__path": "demo",
    "checkpoints__demo__steps": "20",
    "checkpoints__demo__guidance_scale": "1.0",
    "matting__path": "demo",
    "upscalers__demo__path": str(upscaler.TARGET),
    "controls__edges__path": str(edges.TARGET),
    "controls__edges__preprocessor": "canny",
    "ip_adapter__path": str(reference.ADAPTER),
    "ip_adapter__image_encoder": str(reference.ENCODER),
}
INTRODUCTION = """# Gallery

One picture for each feature, with the request that made it. The demo model paints them; it knows coloured shapes on
plain backgrounds. `make gallery` starts a server, sends the requests and writes this page. Where a request starts
from a picture, that is an earlier one, named by its title, or a drawing shown to the left of the result. The
ControlNet, the IP-Adapter, the refiner and the upscaling net were trained on the demo's drawings and do not ship;
they are in tools/demo_model/siblings.
"""
DATA = "data:image/png;base64,..."
"""Where a request has the drawing that is shown beside its picture."""


@dataclass(frozen=True)
class Shown:
    """One picture: what is asked for, and the titles of earlier pictures it starts from, by their fields.

    `drawing` is what stands at DATA in what is asked for. The pictures of the titles `beside` stand before it.
    """

    title: str
    asks: dict[str, Any]
    route: str = "generations"
    files: dict[str, str] = field(default_factory=dict)
    mask: tuple[int, int, int, int] | None = None
    enlarged: int = 1
    drawing: Image.Image | None = None
    beside: tuple[str, ...] = ()


def drawn(background: str, *placed: scenes.Placed) -> Image.Image:
    """Things on a plain ground."""
    return Image.fromarray(scenes.draw(list(placed), background, (SIDE, SIDE)))


STAR_IN_A_CORNER = drawn("white", scenes.Placed(scenes.Thing("star", "black"), 168.0, 164.0, 76.0))
TWO = drawn(
    "blue",
    scenes.Placed(scenes.Thing("square", "yellow"), 80.0, 172.0, 58.0),
    scenes.Placed(scenes.Thing("circle", "white"), 190.0, 72.0, 46.0),
)
GREEN_ON_WHITE = drawn("white", scenes.Placed(scenes.Thing("heart", "green"), 128.0, 130.0, 76.0))
BLUE_ON_WHITE = drawn("white", scenes.Placed(scenes.Thing("circle", "blue"), 128.0, 130.0, 76.0))
HEART = {"prompt": "a large purple heart on a yellow background", "seed": 2}
CIRCLE = {"prompt": "a red circle on a blue background", "seed": 3}
REFINED = {"refiner": "refiner", "refiner_at": 0.6}
STAR = {"prompt": "a yellow star on a blue background", "seed": 4}
FROM_CIRCLE = {"image": "A prompt"}
GALLERY = (
    Shown("A prompt", CIRCLE),
    Shown("A LoRA", {"model": "demo+sunset", "prompt": "a large red circle", "seed": 3}),
    Shown("A blend", {"model": "demo+sunset:0.5+outline:0.7", "prompt": "a large red circle", "seed": 3}),
    Shown("A LoRA tag in the prompt", {"prompt": "a large red circle <lora:stripes:0.9>", "seed": 3}),
    Shown("A negative LoRA weight", {"model": "demo+sunset:-0.8", "prompt": "a large red circle", "seed": 3}),
    Shown("Prompt weights", {"prompt": "a (large:1.2) yellow star", "prompt_syntax": "a1111", "seed": 5}),
    Shown("Another sampler", {"prompt": "a green square", "sampler": "UniPC", "steps": 12, "seed": 7}),
    Shown(
        "A negative prompt",
        {"prompt": "a yellow star", "negative_prompt": "blue", "guidance_scale": 2.5, "seed": 9},
    ),
    Shown("Another aspect ratio", {"prompt": "a purple heart", "size": "384x256", "seed": 2}),
    Shown("An edit", {**STAR, "strength": 0.9}, "edits", FROM_CIRCLE),
    Shown("A mask", STAR, "edits", FROM_CIRCLE, (32, 32, 224, 224)),
    Shown("A small mask in a large picture", STAR, "edits", FROM_CIRCLE, (40, 40, 280, 280), enlarged=4),
    Shown("Outpainting", {**CIRCLE, "padding": 64, "seed": 4}, "edits", FROM_CIRCLE),
    Shown("A variation", {"strength": 0.7, "seed": 6}, "variations", FROM_CIRCLE),
    Shown("A larger size", {**CIRCLE, "size": "512x512", "upscaler": "lanczos"}),
    Shown("A larger size with added detail", {**CIRCLE, "size": "512x512", "upscaler": "lanczos", "detail": 0.1}),
    Shown(
        "A ControlNet with ready edges",
        {
            "prompt": "a green star on a white background",
            "controls": [{"type": "edges", "image": DATA, "preprocess": False}],
            "seed": 3,
        },
        drawing=canny(STAR_IN_A_CORNER),
    ),
    Shown(
        "A ControlNet with edges found in a picture",
        {"prompt": "a red circle above a purple square", "controls": [{"type": "edges", "image": DATA}], "seed": 5},
        drawing=TWO,
    ),
    Shown("A variation through an IP-Adapter", {"seed": 6}, "variations", FROM_CIRCLE, beside=("A prompt",)),
    Shown(
        "A reference for the colours",
        {"prompt": "a large square", "references": [{"image": DATA, "weight": 0.6}], "seed": 2},
        drawing=GREEN_ON_WHITE,
    ),
    Shown(
        "Another reference",
        {"prompt": "a large heart", "references": [{"image": DATA, "weight": 0.6}], "seed": 4},
        drawing=BLUE_ON_WHITE,
    ),
    Shown("Without a refiner", HEART),
    Shown("The last steps by a refiner", {**HEART, **REFINED}, beside=("Without a refiner",)),
    Shown("A transparent background", {"prompt": "a large red heart", "background": "transparent", "seed": 8}),
    Shown("Upscaled by a net", {**CIRCLE, "upscale": 4}),
)


def main() -> None:
    """Writes the pictures and the page."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        last = refiner.write_folder(Path(folder) / "refiner")
        with server(Path(folder), None, **SETTINGS, checkpoints__refiner__path=str(last)) as one:
            made: dict[str, Image.Image] = {}
            for shown in GALLERY:
                made[shown.title] = _painted(one.url, shown, made)
                _keep(shown, made[shown.title])
    write_page()


def write_page() -> None:
    """What is asked for, beside the names of the pictures."""
    (DOCS / "GALLERY.md").write_text("\n".join([INTRODUCTION, *map(_part, GALLERY)]), "utf-8")


def _keep(shown: Shown, image: Image.Image) -> None:
    """As files that the page names."""
    name = _file_name(shown.title)
    image.save(FOLDER / f"{name}.png", optimize=True)
    if shown.drawing is not None:
        shown.drawing.save(FOLDER / f"{name}-drawing.png", optimize=True)


def _file_name(title: str) -> str:
    return title.lower().replace(" ", "-")


def _part(shown: Shown) -> str:
    name = _file_name(shown.title)
    drawing = [] if shown.drawing is None else [_link("The drawing", f"{name}-drawing")]
    pictures = (_link(title, _file_name(title)) for title in (*shown.beside, shown.title))
    return f"## {shown.title}\n\n{' '.join([*drawing, *pictures])}\n\n{_told(shown)}\n"


def _link(alternative: str, name: str) -> str:
    return f"![{alternative}](images/gallery/{name}.png)"


def _painted(url: str, shown: Shown, made: dict[str, Image.Image]) -> Image.Image:
    asked = {"model": "demo", "response_format": "b64_json", **_with_drawing(shown)}
    if shown.route == "generations":
        answer = httpx.post(f"{url}/v1/images/generations", json={"size": SIZE, **asked}, timeout=300)
    else:
        answer = httpx.post(
            f"{url}/v1/images/{shown.route}", data=_texts(asked), files=_files(shown, made), timeout=300
        )
    answer.raise_for_status()
    return Image.open(io.BytesIO(base64.b64decode(answer.json()["data"][0]["b64_json"])))


def _with_drawing(shown: Shown) -> dict[str, Any]:
    if shown.drawing is None:
        return shown.asks
    data = f"data:image/png;base64,{base64.b64encode(_png(shown.drawing)).decode()}"
    return dict(json.loads(json.dumps(shown.asks).replace(DATA, data)))


def _texts(asked: dict[str, Any]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in asked.items()}


def _files(shown: Shown, made: dict[str, Image.Image]) -> dict[str, tuple[str, bytes]]:
    images = {name: made[title] for name, title in shown.files.items()}
    size = images["image"].width * shown.enlarged, images["image"].height * shown.enlarged
    images["image"] = images["image"].resize(size, Image.Resampling.LANCZOS)
    if shown.mask is not None:
        images["mask"] = Image.new("RGBA", size, (0, 0, 0, 255))
        images["mask"].paste((0, 0, 0, 0), shown.mask)
    return {name: (f"{name}.png", _png(image)) for name, image in images.items()}


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _told(shown: Shown) -> str:
    files = "".join(f", `{name}`: *{title}*" for name, title in shown.files.items())
    mask = "" if shown.mask is None else f", `mask`: transparent inside {list(shown.mask)}"
    large = "" if shown.enlarged == 1 else f" (`image` {shown.enlarged} times as large)"
    return f"`POST /v1/images/{shown.route}`{files}{mask}{large}\n\n```json\n{json.dumps(shown.asks)}\n```"


if __name__ == "__main__":
    main()
