"""The page's view for editing, in a real browser: a mask by hand, room around a picture, variations, what guides it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.kit import hostile
from tests.kit.browser import Tab, opened
from tests.kit.control_folders import control_folder, union_folder
from tests.kit.ip_adapters import section
from tests.kit.live_pictures import Pixels, pixels, png
from tests.kit.servers import Server, server, until

HOSTILE = hostile.HOSTILE[0]
SIDE = 128
FORM = "form.edit"
COMMANDS = {
    "curl": ("bash", "-c"),
    "Python": (sys.executable, "-c"),
    "JavaScript": ("node", "--input-type=module", "-e"),
}
Mask = Any


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with ControlNets and an IP-Adapter."""
    folder = tmp_path_factory.mktemp("guided")
    files = section(folder / "adapter", plus=True)
    settings = {
        "controls__canny__path": str(control_folder(folder / "canny", 1)),
        "controls__canny__preprocessor": "canny",
        "controls__depth__path": str(union_folder(folder / "union", 2)),
        "ip_adapter__path": files.path,
        "ip_adapter__image_encoder": files.image_encoder,
    }
    with server(tmp_path_factory.mktemp("server"), None, **settings) as one:
        yield one


@pytest.fixture
def tab(browser: Any, live: Server) -> Iterator[Tab]:
    with opened(browser, f"{live.url}/#edit") as one:
        one.page.locator("#edit-strength").wait_for()
        yield one
        assert one.trouble == []


@pytest.fixture
def guided_tab(browser: Any, guided: Server) -> Iterator[Tab]:
    with opened(browser, f"{guided.url}/#edit") as one:
        one.page.locator("#edit-references").wait_for()
        yield one
        assert one.trouble == []


def drawing(size: tuple[int, int] = (SIDE, SIDE)) -> bytes:
    """Noise with a shape on it: a pixel that moved would be seen."""
    noise = np.random.default_rng(5).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    ImageDraw.Draw(image).ellipse((size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2), fill="red")
    return png(image)


def give(tab: Tab, data: bytes, name: str = "a drawing.png", kind: str = "image/png", to: str = "#edit-image") -> None:
    tab.page.set_input_files(to, {"name": name, "mimeType": kind, "buffer": data})


def few_steps(tab: Tab, steps: int = 3) -> None:
    tab.page.click(f"{FORM} summary:text-is('More')")
    tab.page.fill("#edit-steps", str(steps))


def draw(tab: Tab, *points: tuple[float, float]) -> None:
    """A stroke through these places, each a share of the board's width and height."""
    box = tab.page.locator(".board canvas").bounding_box()
    mouse = tab.page.mouse
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    mouse.move(*places[0])
    mouse.down()
    for place in places[1:]:
        mouse.move(*place, steps=4)
    mouse.up()


def paint(tab: Tab, prompt: str = "a blue circle") -> bytes:
    """What came of it: the newest picture, as it is downloaded."""
    tab.page.fill("#edit-prompt", prompt)
    tab.page.click(f"{FORM} button[type=submit]")
    tab.page.locator(f"{FORM} [role=status]:has-text('painted.')").wait_for()
    return downloaded(tab, lambda: tab.page.locator(f"{FORM} a[download]").first.click())


def downloaded(tab: Tab, act: Callable[[], None]) -> bytes:
    with tab.page.expect_download() as told:
        act()
    return Path(told.value.path()).read_bytes()


def open_code(tab: Tab, kind: str) -> str:
    tab.page.click(f"{FORM} summary:has-text('Take it home')")
    tab.page.click(f".code .tabs >> text={kind}")
    tab.page.locator(f"{FORM} pre[aria-label$={kind}]").wait_for()
    return tab.text(f"{FORM} pre")


def mask_of(tab: Tab) -> Mask:
    """Where it is painted anew, as it is sent: height x width."""
    tab.page.locator("button:text-is('Download mask.png')").wait_for()
    data = downloaded(tab, lambda: tab.page.click("button:text-is('Download mask.png')"))
    return np.asarray(Image.open(io.BytesIO(data)).getchannel("A")) < 128


def refused(tab: Tab, field: str) -> str:
    shown = tab.page.locator(f"{FORM} [data-field={field}] .error:not([hidden])")
    shown.wait_for()
    return str(shown.inner_text())


def same_where(kept: Mask, a: Pixels, b: Pixels) -> bool:
    return bool((a[kept] == b[kept]).all())


def test_an_edit_with_a_drawn_mask_keeps_the_rest_bit_for_bit(tab: Tab) -> None:
    given = drawing()
    give(tab, given)
    draw(tab, (0.3, 0.3), (0.6, 0.4))
    few_steps(tab)
    came = pixels(paint(tab))
    open_code(tab, "curl")
    mask = mask_of(tab)
    assert 0.05 < mask.mean() < 0.5
    assert same_where(~mask, came, pixels(given))
    assert not same_where(mask, came, pixels(given))


@pytest.mark.full
def test_the_mask_is_inverted_undone_erased_cleared_and_said_in_numbers(tab: Tab) -> None:
    give(tab, drawing())
    draw(tab, (0.3, 0.3), (0.6, 0.4))
    open_code(tab, "curl")
    stroke = mask_of(tab)
    tab.page.click("button:text-is('Invert')")
    assert (mask_of(tab) == ~stroke).all()
    tab.page.click("button:text-is('Undo')")
    assert (mask_of(tab) == stroke).all()
    tab.page.click("button:text-is('Redo')")
    tab.page.keyboard.press("Control+z")
    tab.page.click("button:text-is('Eraser')")
    draw(tab, (0.3, 0.3), (0.4, 0.33))
    erased = mask_of(tab)
    assert 0 < erased.sum() < stroke.sum()
    assert not (erased & ~stroke).any()
    tab.page.click("button:text-is('Clear')")
    tab.page.locator("button:text-is('Download mask.png')").wait_for(state="hidden")
    tab.page.click("summary:has-text('rectangle')")
    for side, value in zip(("left", "top", "width", "height"), (10, 20, 30, 40), strict=True):
        tab.page.fill(f"#edit-box-{side}", str(value))
    tab.page.click("button:text-is('Paint it')")
    rows, columns = np.nonzero(mask_of(tab))
    assert (rows.min(), rows.max(), columns.min(), columns.max(), len(rows)) == (20, 59, 10, 39, 30 * 40)


@pytest.mark.full
def test_a_pictures_own_holes_are_its_mask_to_begin_with(tab: Tab) -> None:
    image = Image.new("RGBA", (64, 48), (200, 40, 40, 255))
    image.paste((0, 0, 0, 0), (8, 8, 24, 40))
    give(tab, png(image))
    open_code(tab, "curl")
    holes = np.zeros((48, 64), dtype=bool)
    holes[8:40, 8:24] = True
    assert (mask_of(tab) == holes).all()


@pytest.mark.full
@pytest.mark.parametrize("pointer", ["touch", "pen"])
def test_fingers_and_pens_paint_too(browser: Any, live: Server, pointer: str) -> None:
    with opened(browser, f"{live.url}/#edit", has_touch=True) as tab:
        give(tab, drawing())
        tab.page.locator(".board canvas").scroll_into_view_if_needed()
        box = tab.page.locator(".board canvas").bounding_box()
        places = [(box["x"] + box["width"] * share, box["y"] + box["height"] / 2) for share in (0.2, 0.5, 0.8)]
        wire = tab.page.context.new_cdp_session(tab.page)
        for kind, (x, y) in zip(("Start", "Move", "Move"), places, strict=True):
            if pointer == "touch":
                wire.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": [{"x": x, "y": y}]})
            else:
                said = {"x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1, "pointerType": "pen"}
                event = {"Start": "mousePressed", "Move": "mouseMoved"}[kind]
                wire.send("Input.dispatchMouseEvent", {"type": event, **said})
        if pointer == "touch":
            wire.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        else:
            wire.send("Input.dispatchMouseEvent", {"type": "mouseReleased", **said})
        open_code(tab, "curl")
        columns = np.nonzero(mask_of(tab).any(axis=0))[0]
        assert columns.min() < 0.25 * SIDE < 0.75 * SIDE < columns.max()


@pytest.mark.full
def test_paint_beyond_the_edges(tab: Tab) -> None:
    given = drawing()
    give(tab, given)
    few_steps(tab)
    tab.page.fill("#edit-room-top", "16")
    tab.page.locator(".edge.right").scroll_into_view_if_needed()
    edge = tab.page.locator(".edge.right").bounding_box()
    tab.page.mouse.move(edge["x"] + 4, edge["y"] + 20)
    tab.page.mouse.down()
    tab.page.mouse.move(edge["x"] + 104, edge["y"] + 20, steps=5)
    tab.page.mouse.up()
    right = int(tab.page.input_value("#edit-room-right"))
    assert right >= 16
    came = pixels(paint(tab))
    assert came.shape == (SIDE + 16, SIDE + right, 3)
    assert (came[16:, :SIDE] == pixels(given)).all()


@pytest.mark.full
def test_a_variation_of_several(tab: Tab) -> None:
    give(tab, drawing())
    tab.page.click("button:text-is('Vary')")
    tab.page.locator("[data-field=mask]").wait_for(state="hidden")
    assert not any(one.is_visible() for one in tab.page.locator(".edge, [data-field=padding], #edit-seam").all())
    few_steps(tab)
    tab.page.fill("#edit-n", "2")
    tab.page.fill("#edit-seed", "7")
    first = paint(tab)
    assert tab.text(f"{FORM} [role=status]") == "2 of 2 painted."
    assert [tab.page.locator(f"{FORM} .pictures .about p:first-child").nth(at).inner_text() for at in (0, 1)] == [
        f"{SIDE}x{SIDE}, seed {seed}" for seed in (7, 8)
    ]
    assert pixels(first).shape == (SIDE, SIDE, 3)


@pytest.mark.full
def test_before_and_after_are_compared_and_what_came_is_edited_further(tab: Tab) -> None:
    give(tab, drawing())
    few_steps(tab)
    came = paint(tab)
    slider = tab.page.locator(".compare input")
    slider.focus()
    slider.press("End")
    assert tab.page.locator(".compare").evaluate("one => one.style.getPropertyValue('--shown')") == "100%"
    assert tab.page.locator(".compare .before").evaluate("one => one.naturalWidth") == SIDE
    tab.page.click(f"{FORM} .pictures button:text-is('Edit this')")
    tab.page.locator(f"text=/picture-\\d+.png, {SIDE}x{SIDE}/").wait_for()
    open_code(tab, "curl")
    assert downloaded(tab, lambda: tab.page.click("button:text-is('Download image.png')")) == came


@pytest.mark.full
def test_a_painted_picture_is_brought_here(browser: Any, live: Server) -> None:
    with opened(browser, live.url) as tab:
        tab.paint("a red circle")
        tab.painted()
        tab.page.click("#pictures button:text-is('Edit this')")
        tab.page.locator(".board canvas").wait_for()
        assert tab.page.url.endswith("#edit")
        assert tab.page.locator("#edit-image-error").is_hidden()
        assert tab.trouble == []


@pytest.mark.full
@pytest.mark.parametrize("way", ["drop", "paste"])
def test_dropped_and_pasted(tab: Tab, way: str) -> None:
    give_it = """([way, data]) => {
        const held = new DataTransfer();
        held.items.add(new File([Uint8Array.from(data)], "given.png", { type: "image/png" }));
        const said = { bubbles: true, cancelable: true, dataTransfer: held, clipboardData: held };
        const event = way === "drop" ? new DragEvent(way, said) : new ClipboardEvent(way, said);
        document.querySelector("#edit-image").dispatchEvent(event);
    }"""
    tab.page.evaluate(give_it, [way, list(drawing((40, 30)))])
    tab.page.locator("text=given.png, 40x30").wait_for()


@pytest.mark.full
def test_refusals_stand_at_their_fields(tab: Tab) -> None:
    tab.page.click(f"{FORM} button[type=submit]")
    assert refused(tab, "image") == "Choose a picture first."
    give(tab, b"no picture at all", f"{HOSTILE}.png")
    assert HOSTILE in refused(tab, "image")
    give(tab, drawing(), f"{HOSTILE}.png")
    tab.page.fill("#edit-prompt", "a circle")
    tab.page.fill("#edit-strength", "7")
    tab.page.click(f"{FORM} button[type=submit]")
    assert "strength" in refused(tab, "strength")
    assert tab.page.evaluate("document.activeElement.id") == "edit-strength"
    tab.page.fill("#edit-strength", "")
    tab.page.fill("#edit-size", HOSTILE[:30])
    tab.page.click(f"{FORM} button[type=submit]")
    refused(tab, "size")
    tab.page.fill("#edit-size", "")
    tab.page.fill("#edit-room-left", "9999")
    tab.page.click(f"{FORM} button[type=submit]")
    refused(tab, "padding")
    tab.page.fill("#edit-room-left", "0")
    tab.page.click("button:text-is('Invert')")
    tab.page.click("button:text-is('Invert')")
    tab.page.click(f"{FORM} button[type=submit]")
    assert "no transparent pixels" in refused(tab, "mask")
    assert tab.page.evaluate("window.hurt") is None
    tab.trouble[:] = [one for one in tab.trouble if "400" not in one]


@pytest.mark.full
def test_cancelled_is_cancelled_on_the_server_too(tab: Tab, live: Server) -> None:
    give(tab, drawing())
    few_steps(tab, 150)
    tab.page.fill("#edit-prompt", "a circle")
    tab.page.click(f"{FORM} button[type=submit]")
    tab.page.locator(f"{FORM} progress[value]").wait_for()
    tab.page.click(f"{FORM} button:text-is('Cancel')")
    tab.page.locator("text=Cancelled.").wait_for()
    until(lambda: live.is_idle())


@pytest.mark.full
def test_hostile_names_stay_text_on_a_phone(guided_tab: Tab) -> None:
    guided_tab.page.set_viewport_size({"width": 390, "height": 844})
    for place in ("#edit-image", "#edit-references", "#edit-controls"):
        give(guided_tab, drawing(), f"{HOSTILE}.png", to=place)
    few_steps(guided_tab)
    guided_tab.page.fill("#edit-prompt", HOSTILE)
    for kind, said in (("curl", HOSTILE), ("Python", json.dumps(HOSTILE)), ("JavaScript", json.dumps(HOSTILE))):
        assert said in open_code(guided_tab, kind)
        guided_tab.page.click(f"{FORM} summary:has-text('Take it home')")
    paint(guided_tab, HOSTILE)
    assert guided_tab.page.evaluate("document.documentElement.scrollWidth") == 390
    assert guided_tab.page.evaluate("window.hurt") is None
    assert guided_tab.page.locator(f"{FORM} script, {FORM} svg, {FORM} img[src=x]").count() == 0


def fill_in(tab: Tab, folder: Path) -> None:
    """An edit with a mask, a reference and a control; its files as they would be downloaded."""
    give(tab, drawing())
    draw(tab, (0.3, 0.3), (0.6, 0.4))
    few_steps(tab)
    tab.page.fill("#edit-prompt", '@it\'s a "red" circle')
    tab.page.fill("#edit-room-right", "16")
    tab.page.fill("#edit-seed", "7")
    give(tab, drawing(), to="#edit-references")
    tab.page.locator("[data-field=references] input[type=range]").fill("0.9")
    give(tab, drawing(), to="#edit-controls")
    tab.page.locator("[data-field=controls] input[type=range]").first.fill("0.5")
    open_code(tab, "curl")
    for one in tab.page.locator("button:has-text('Download ')").all():
        name = one.inner_text().removeprefix("Download ")
        (folder / name).write_bytes(downloaded(tab, one.click))
    tab.page.click(f"{FORM} summary:has-text('Take it home')")


@pytest.mark.full
def test_the_code_it_shows_runs_with_its_files(guided_tab: Tab, installed: Path, tmp_path: Path) -> None:
    fill_in(guided_tab, tmp_path)
    assert {one.name for one in tmp_path.iterdir()} == {"image.png", "mask.png", "reference-1.png", "control-1.png"}
    (tmp_path / "node_modules").symlink_to(installed / "node_modules")
    told = json.loads(ran([*COMMANDS["curl"], open_code(guided_tab, "curl")], tmp_path))["data"][0]
    recipe = told["recipe"]
    assert (recipe["padding"]["right"], recipe["seed"]) == (16, 7)
    assert recipe["ip_adapter"]["weights"] == [0.9]
    assert [(one["type"], one["weight"]) for one in recipe["controls"]] == [("canny", 0.5)]
    here = pixels(paint(guided_tab, '@it\'s a "red" circle'))
    assert (pixels(told["b64_json"]) == here).all()
    for kind in ("Python", "JavaScript"):
        guided_tab.page.click(f".code .tabs >> text={kind}")
        guided_tab.page.locator(f"{FORM} pre[aria-label$={kind}]").wait_for()
        ran([*COMMANDS[kind], guided_tab.text(f"{FORM} pre")], tmp_path)
        assert (pixels((tmp_path / "picture-0.png").read_bytes()) == here).all()
        (tmp_path / "picture-0.png").unlink()


@pytest.mark.full
@pytest.mark.parametrize("kind", list(COMMANDS))
def test_the_code_of_a_variation_runs(tab: Tab, installed: Path, kind: str, tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(drawing())
    (tmp_path / "node_modules").symlink_to(installed / "node_modules")
    give(tab, drawing())
    tab.page.click("button:text-is('Vary')")
    few_steps(tab)
    ran([*COMMANDS[kind], open_code(tab, kind)], tmp_path)


def ran(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "OPENAI_API_KEY": "unused"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
