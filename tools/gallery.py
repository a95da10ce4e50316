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
from tools.demo_model import edges, scenes, upscaler

DOCS = Path(__file__).parents[1] / "docs"
FOLDER = DOCS / "images" / "gallery"
SIZE = "256x256"
SIDE = 256
SETTINGS = {
    "matting__path": "demo",
    "upscalers__demo__path": str(upscaler.TARGET),
    "controls__edges__path": str(edges.TARGET),
    "controls__edges__preprocessor": "canny",
}
INTRODUCTION = """# Gallery

One picture for each thing that can be asked for, painted by the demo model, which knows coloured shapes on plain
grounds. `make gallery` starts a server, asks it, and writes this page. Pictures that a request starts from are
those above, by their titles, or drawings beside the painting. The ControlNet and the net that enlarges were taught
the demo's drawings and do not ship; they are in tools/demo_model/siblings. Of refiners and IP-Adapters there are none
that know the demo's shapes; [PARITY.md](PARITY.md) holds them against diffusers instead.
"""
DATA = "data:image/png;base64,..."
"""Where a request has the drawing that is shown beside its picture."""


@dataclass(frozen=True)
class Shown:
    """One picture: what is asked for, and the titles of earlier pictures it starts from, by their fields.

    `drawing` is what stands at DATA in what is asked for.
    """

    title: str
    asks: dict[str, Any]
    route: str = "generations"
    files: dict[str, str] = field(default_factory=dict)
    mask: tuple[int, int, int, int] | None = None
    enlarged: int = 1
    drawing: Image.Image | None = None


def drawn(background: str, *placed: scenes.Placed) -> Image.Image:
    """Things on a plain ground."""
    return Image.fromarray(scenes.draw(list(placed), background, (SIDE, SIDE)))


STAR_IN_A_CORNER = drawn("white", scenes.Placed(scenes.Thing("star", "black"), 168.0, 164.0, 76.0))
TWO = drawn(
    "blue",
    scenes.Placed(scenes.Thing("square", "yellow"), 80.0, 172.0, 58.0),
    scenes.Placed(scenes.Thing("circle", "white"), 190.0, 72.0, 46.0),
)
CIRCLE = {"prompt": "a red circle on a blue background", "seed": 3}
STAR = {"prompt": "a yellow star on a blue background", "seed": 4}
FROM_CIRCLE = {"image": "A prompt"}
GALLERY = (
    Shown("A prompt", CIRCLE),
    Shown("A LoRA", {"model": "demo+sunset", "prompt": "a large red circle", "seed": 3}),
    Shown("A blend", {"model": "demo+sunset:0.5+outline:0.7", "prompt": "a large red circle", "seed": 3}),
    Shown("A tag in the prompt", {"prompt": "a large red circle <lora:stripes:0.9>", "seed": 3}),
    Shown("A weight below nothing", {"model": "demo+sunset:-0.8", "prompt": "a large red circle", "seed": 3}),
    Shown("Weighted words", {"prompt": "a (large:1.2) yellow star", "prompt_syntax": "a1111", "seed": 5}),
    Shown("Another sampler", {"prompt": "a green square", "sampler": "UniPC", "steps": 12, "seed": 7}),
    Shown(
        "Guidance away from something",
        {"prompt": "a yellow star", "negative_prompt": "blue", "guidance_scale": 2.5, "seed": 9},
    ),
    Shown("Another aspect", {"prompt": "a purple heart", "size": "384x256", "seed": 2}),
    Shown("An edit", {**STAR, "strength": 0.9}, "edits", FROM_CIRCLE),
    Shown("A mask", STAR, "edits", FROM_CIRCLE, (32, 32, 224, 224)),
    Shown("A small mask in a large picture", STAR, "edits", FROM_CIRCLE, (40, 40, 280, 280), enlarged=4),
    Shown("Beyond the edges", {**CIRCLE, "padding": 64, "seed": 4}, "edits", FROM_CIRCLE),
    Shown("A variation", {"strength": 0.7, "seed": 6}, "variations", FROM_CIRCLE),
    Shown("Larger", {**CIRCLE, "size": "512x512", "upscaler": "lanczos"}),
    Shown("Larger and painted over", {**CIRCLE, "size": "512x512", "upscaler": "lanczos", "detail": 0.1}),
    Shown(
        "Edges",
        {
            "prompt": "a green star on a white background",
            "controls": [{"type": "edges", "image": DATA, "preprocess": False}],
            "seed": 3,
        },
        drawing=canny(STAR_IN_A_CORNER),
    ),
    Shown(
        "Edges of a picture",
        {"prompt": "a red circle above a purple square", "controls": [{"type": "edges", "image": DATA}], "seed": 5},
        drawing=TWO,
    ),
    Shown("A transparent background", {"prompt": "a large red heart", "background": "transparent", "seed": 8}),
    Shown("Enlarged by a net", {**CIRCLE, "upscale": 4}),
)


def main() -> None:
    """Writes the pictures and the page."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), None, **SETTINGS) as one:
        made: dict[str, Image.Image] = {}
        parts = [_part(one.url, shown, made) for shown in GALLERY]
    (DOCS / "GALLERY.md").write_text("\n".join([INTRODUCTION, *parts]), "utf-8")


def _part(url: str, shown: Shown, made: dict[str, Image.Image]) -> str:
    name = shown.title.lower().replace(" ", "-")
    image = made[shown.title] = _painted(url, shown, made)
    pictures = {f"{name}.png": image}
    if shown.drawing is not None:
        pictures = {f"{name}-drawing.png": shown.drawing, **pictures}
    for file, one in pictures.items():
        one.save(FOLDER / file, optimize=True)
    links = " ".join(f"![{file.removesuffix('.png')}](images/gallery/{file})" for file in pictures)
    return f"## {shown.title}\n\n{links}\n\n{_told(shown)}\n"


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
