"""Opens views of the page on a server with the demo model, writes docs/images/page*.png.

`make screenshots` for all of them, `python -m tools.screenshots shelf operate` for some.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PIL import Image

from sdxl_gateway.config import DEMO_LORAS
from tests.kit.browser import Tab, chromium, opened
from tests.kit.servers import Server, server

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SCREEN = {"width": 1280, "height": 800}
MOST_BYTES = 150_000
PATIENCE_MILLISECONDS = 600_000
ADMIN = "root"
GENERATE = "v1/images/generations"
BLEND = "demo+outline:0.8+sunset:0.5"
SIDE_CAR = {"description": "Stripes in ink, as from a broad brush.", "trigger words": "inky stripes", "weight": "0.8"}
PROMPTS = ("a red circle", "a large green star", "a small blue square", "a yellow triangle")
LINE = {"art": ("normal", 13), "ads": ("low", 11)}
"""Who waits, by tenant: their class, and how many jobs."""
SETTINGS = {
    "auth__api_keys": "painter",
    "auth__admin_keys": ADMIN,
    "checkpoints__demo__path": "demo",
    "checkpoints__demo__steps": "20",
    "checkpoints__demo__guidance_scale": "1.0",
    "memory__vram_budget_bytes": "37100000",
    "memory__pristine": "device",
}


def paint(tab: Tab) -> None:
    """A blend of two LoRAs, and three pictures of it."""
    tab.page.select_option("#base", "demo")
    for name, weight in (("outline", "1"), ("sunset", "0.25")):
        tab.page.locator(f"#lora option[value={name}]").wait_for(state="attached")
        tab.page.select_option("#lora", name)
        tab.page.locator("#chips label").get_by_text(name, exact=True).wait_for()
        tab.page.locator("#chips input[type=range]").last.fill(weight)
    tab.page.fill("#seed", "3")
    tab.page.fill("#n", "3")
    tab.paint("a red circle")
    tab.painted(3)


def edit(tab: Tab) -> None:
    """A picture with a stroke of the mask, and what became of it."""
    picture = (IMAGES / "gallery" / "a-prompt.png").read_bytes()
    tab.page.locator("#edit-strength").wait_for()
    tab.page.set_input_files("#edit-image", {"name": "circle.png", "mimeType": "image/png", "buffer": picture})
    tab.page.fill("#edit-prompt", "a large yellow star on a blue background")
    stroke(tab, (0.3, 0.35), (0.7, 0.35), (0.3, 0.55), (0.7, 0.55), (0.4, 0.7))
    tab.page.click("form.edit button[type=submit]")
    tab.page.locator("#view-edit .pictures a[download]").first.wait_for()


def stroke(tab: Tab, *points: tuple[float, float]) -> None:
    """Through these places of the board, each a share of its width and height."""
    box, mouse = tab.page.locator(".board canvas").bounding_box(), tab.page.mouse
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    mouse.move(*places[0])
    mouse.down()
    for place in places[1:]:
        mouse.move(*place, steps=4)
    mouse.up()


def shelf(tab: Tab) -> None:
    """A LoRA that was put in and described, looked into."""
    put_in(tab)
    row = tab.page.locator("#view-shelf .rows > li", has=tab.page.locator(".what", has_text="ink-wash"))
    row.locator("summary").first.click()
    row.get_by_text("Describe it").click()
    for label, text in SIDE_CAR.items():
        row.get_by_label(label, exact=True).fill(text)
    row.get_by_text("Save", exact=True).click()
    row.locator(".body > p", has_text=SIDE_CAR["description"]).wait_for()
    row.get_by_text("Load report").click()


def put_in(tab: Tab) -> None:
    """One of those that come with the server, by another name."""
    form = tab.page.locator("form[aria-label='Add a LoRA']")
    form.locator("input[type=file]").set_input_files(DEMO_LORAS / "stripes.safetensors")
    form.locator("#upload-lora-name").fill("ink-wash")
    form.locator("#upload-lora-replace").check()
    form.locator("button[type=submit]").click()
    form.locator("[role=status]", has_text="is there").wait_for()


def history(tab: Tab) -> None:
    """What was painted in this browser."""
    tab.page.evaluate("location.hash = 'paint'")
    tab.page.locator("#lora option[value=stripes]").wait_for(state="attached")
    tab.page.select_option("#lora", "stripes")
    tab.page.locator("#chips label").get_by_text("stripes", exact=True).wait_for()
    tab.page.fill("#seed", "7")
    for count, prompt in enumerate(PROMPTS, 1):
        tab.paint(prompt)
        tab.painted(count)
    tab.page.evaluate("location.hash = 'history'")
    tab.page.locator("#view-history img").nth(len(PROMPTS) - 1).wait_for()


def operate(tab: Tab) -> None:
    """Two minutes of a server that two tenants wait for."""
    for tenant, (priority, jobs) in LINE.items():
        key = posted(tab, "v1/admin/keys", ADMIN, {"tenant": tenant, "priority": priority})["key"]
        for number in range(jobs):
            said = {"model": BLEND, "prompt": f"circle {number}", "steps": 30 + 10 * (number % 5)}
            posted(tab, GENERATE, key, said, {"prefer": "respond-async"})
    tab.page.locator("#view-operate", has_text="last 2 min").wait_for()


def posted(tab: Tab, path: str, key: str, said: Any, headers: Mapping[str, str] = MappingProxyType({})) -> Any:
    """What the server answers."""
    headers = {"authorization": f"Bearer {key}", **headers}
    answer = tab.page.request.post(f"{tab.page.url.partition('#')[0]}{path}", data=said, headers=headers)
    if not answer.ok:
        raise SystemExit(f"{path}: {answer.status} {answer.text()}")
    return answer.json()


def api(tab: Tab) -> None:
    """One operation unfolded."""
    tab.page.locator(".operation").first.wait_for()
    tab.page.fill("#api-find", "v1/images")
    tab.page.locator(".operation:not([hidden]) > summary").first.click()


VIEWS: Mapping[str, Callable[[Tab], None]] = {
    "paint": paint,
    "edit": edit,
    "shelf": shelf,
    "history": history,
    "api": api,
    "operate": operate,
}
"""The last leaves jobs behind that others would wait for."""


def shot(browser: Any, one: Server, view: str) -> bytes:
    """As PNG, of few colours."""
    with opened(browser, f"{one.url}/#{view}", viewport=SCREEN) as tab:
        tab.page.set_default_timeout(PATIENCE_MILLISECONDS)
        tab.page.fill("#key", ADMIN)
        tab.page.press("#key", "Enter")
        tab.page.locator("#ask-key").wait_for(state="hidden")
        VIEWS[view](tab)
        tab.page.wait_for_load_state("networkidle")
        tab.page.evaluate("scrollTo(0, 0); document.activeElement.blur()")
        whole = Image.open(io.BytesIO(tab.page.screenshot()))
    packed = io.BytesIO()
    whole.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), None, **SETTINGS) as one, chromium() as browser:
        for view in [view for view in VIEWS if view in (sys.argv[1:] or VIEWS)]:
            data = shot(browser, one, view)
            file = IMAGES / ("page.png" if view == "paint" else f"page-{view}.png")
            if len(data) > MOST_BYTES:
                raise SystemExit(f"{file.name} has {len(data)} bytes: more than {MOST_BYTES}")
            file.write_bytes(data)
            print(f"{file}: {len(data)} bytes")


if __name__ == "__main__":
    main()
