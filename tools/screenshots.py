"""Opens each view of the page on a server with the demo model, writes docs/images/page*.png.

`make screenshots`.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from tests.kit.browser import Tab, chromium, opened
from tests.kit.servers import Server, server

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SCREEN = {"width": 1280, "height": 800}
MOST_BYTES = 150_000
PATIENCE_MILLISECONDS = 600_000
ADMIN = "root"
SETTINGS = {
    "auth__api_keys": "painter",
    "auth__admin_keys": ADMIN,
    "checkpoints__demo__path": "demo",
    "checkpoints__demo__steps": "20",
    "checkpoints__demo__guidance_scale": "1.0",
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
    """One of the LoRAs that come with the server, looked into."""
    tab.page.locator("#view-shelf summary", has_text="stripes").click()
    tab.page.locator("#view-shelf").get_by_text("Load report").first.wait_for()


def history(tab: Tab) -> None:
    """What was painted in this browser."""
    tab.page.evaluate("location.hash = 'paint'")
    paint(tab)
    tab.page.evaluate("location.hash = 'history'")
    tab.page.locator("#view-history img").nth(2).wait_for()


def operate(tab: Tab) -> None:
    """Engines and the queue, as they are now."""
    tab.page.locator("#view-operate .ledger").first.wait_for()


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
    "operate": operate,
    "api": api,
}


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
        for view in VIEWS:
            data = shot(browser, one, view)
            file = IMAGES / ("page.png" if view == "paint" else f"page-{view}.png")
            if len(data) > MOST_BYTES:
                raise SystemExit(f"{file.name} has {len(data)} bytes: more than {MOST_BYTES}")
            file.write_bytes(data)
            print(f"{file}: {len(data)} bytes")


if __name__ == "__main__":
    main()
