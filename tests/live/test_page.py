"""The page in a real browser: paint, blend, cancel, be refused, take it home; hostile text stays text."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdxl_gateway.config import DEMO_LORAS
from tests.kit.browser import Tab, opened
from tests.kit.hostile import FILE_NAMES, HOSTILE, TRACES, UNTOUCHED
from tests.kit.servers import Server, server, until

KEY = "alpha"


@pytest.fixture(scope="module")
def keyed(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a key, in whose LoRA folder lie files that a stranger named and described."""
    with server(tmp_path_factory.mktemp("page"), auth__api_keys=KEY) as one:
        for number, text in enumerate(FILE_NAMES):
            _lora(one.loras, text, number)
        until(lambda: len(_loras(one)) == len(FILE_NAMES) + len(list(DEMO_LORAS.glob("*.safetensors"))))
        yield one


def _lora(folder: Path, text: str, number: int) -> None:
    shutil.copy(sorted(DEMO_LORAS.glob("*.safetensors"))[0], folder / f"{text}.safetensors")
    told = json.dumps(f"{text} {number}")
    (folder / f"{text}.toml").write_text(f"description = {told}\ntrigger_words = [{told}]\n", "utf-8")


def _loras(one: Server) -> list[Any]:
    found = httpx.get(f"{one.url}/v1/loras", headers={"api-key": KEY}).json()["data"]
    return list(found)


@pytest.fixture
def tab(browser: Any, keyed: Server) -> Iterator[Tab]:
    """With the right key given."""
    with opened(browser, keyed.url) as one:
        one.page.fill("#key", KEY)
        one.page.press("#key", "Enter")
        one.page.locator("#ask-key").wait_for(state="hidden")
        one.trouble.clear()
        yield one


def test_it_opens_light_and_paints_a_blend(browser: Any, live: Server) -> None:
    with opened(browser, live.url) as tab:
        tab.page.locator("#lora option[value=outline]").wait_for(state="attached")
        assert len(tab.asked) <= 5
        assert tab.bytes < 100_000
        tab.page.select_option("#base", "demo")
        tab.page.select_option("#lora", "outline")
        tab.page.locator("#chips input[type=range]").fill("0.8")
        assert tab.text("#model-name") == '"demo+outline:0.8"'
        tab.paint("a red circle")
        tab.painted()
        assert all(address.startswith((live.url, "blob:", "data:")) for address in tab.asked)
        assert tab.trouble == []


def test_on_a_phone_a_picture_comes_into_view(browser: Any, live: Server) -> None:
    with opened(browser, live.url, viewport={"width": 390, "height": 844}) as tab:
        tab.page.locator("#lora option[value=outline]").wait_for(state="attached")
        tab.paint("a red circle")
        tab.painted()
        box = tab.page.locator("#pictures img").first.bounding_box()
        assert box is not None
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 844


@pytest.mark.full
def test_a_wrong_key_is_said_and_asked_for_again(browser: Any, keyed: Server) -> None:
    with opened(browser, keyed.url) as tab:
        tab.page.locator("#ask-key").wait_for()
        tab.page.fill("#key", "wrong")
        tab.page.press("#key", "Enter")
        tab.page.locator("#key-error:not([hidden])").wait_for()
        tab.page.fill("#key", KEY)
        tab.page.press("#key", "Enter")
        tab.page.locator("#ask-key").wait_for(state="hidden")
        assert tab.page.locator("#base option").count() > 1


@pytest.mark.full
def test_several_pictures_with_their_seeds(tab: Tab) -> None:
    tab.page.fill("#seed", "7")
    tab.page.fill("#n", "3")
    tab.paint("a red circle")
    tab.painted(3)
    assert [tab.page.locator("#pictures .about p").nth(place).inner_text() for place in (0, 2, 4)] == [
        f"256x256, seed {seed}" for seed in (7, 8, 9)
    ]
    assert tab.text("#status") == "3 of 3 painted."


@pytest.mark.full
def test_more_fields_are_those_of_the_server(tab: Tab) -> None:
    tab.page.click("#more summary")
    tab.page.locator("#more-steps").wait_for()
    samplers = tab.page.locator("#more-sampler-offers option").count()
    assert samplers > 5
    assert tab.page.locator("#more-num_inference_steps, #more-controls, #more-refiner").count() == 0
    tab.page.fill("#more-steps", "3")
    tab.paint("a red circle")
    tab.painted()


@pytest.mark.full
def test_a_refusal_stands_at_its_field(tab: Tab) -> None:
    tab.page.fill("#size", "7x7")
    tab.paint("a red circle")
    tab.page.locator("#size[aria-invalid=true]").wait_for()
    assert "7x7" in tab.text("#size-error")
    assert tab.page.evaluate("document.activeElement.id") == "size"


@pytest.mark.full
def test_cancelled_is_cancelled_on_the_server_too(tab: Tab, keyed: Server) -> None:
    tab.page.click("#more summary")
    tab.page.fill("#more-steps", "150")
    tab.paint("a red circle")
    tab.page.locator("#pictures progress[value]").wait_for()
    tab.page.click("#cancel")
    tab.page.locator("text=Cancelled.").wait_for()
    until(lambda: keyed.is_idle())


@pytest.mark.full
def test_hostile_text_stays_text(tab: Tab) -> None:
    for text in FILE_NAMES:
        tab.page.select_option("#lora", text)
    for word in tab.page.locator("#chips .word").all():
        word.click()
    shown = json.loads(tab.text("#model-name"))
    assert all(text in shown for text in FILE_NAMES), shown
    for chip in tab.page.locator("#chips input[type=range]").all():
        chip.fill("0")
    tab.page.click("#code summary")
    for kind in ("curl", "Python", "JavaScript"):
        tab.page.click(f".tabs >> text={kind}")
    tab.page.fill("#n", "2")
    tab.page.click("#paint")
    tab.painted(2)
    tab.page.fill("#size", HOSTILE[0][:30])
    tab.page.click("#paint")
    tab.page.locator("#size-error:not([hidden])").wait_for()
    tab.page.set_viewport_size({"width": 390, "height": 844})
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
    assert tab.page.evaluate(TRACES) == UNTOUCHED


@pytest.mark.full
@pytest.mark.parametrize("kind", ["curl", "Python"])
def test_the_code_it_shows_runs(tab: Tab, kind: str, tmp_path: Path) -> None:
    code = _code(tab, kind)
    command = ["bash", "-c", code] if kind == "curl" else [sys.executable, "-c", code]
    done = _run(command, tmp_path)
    if kind == "curl":
        assert json.loads(done)["data"][0]["b64_json"]
    else:
        assert (tmp_path / "picture-0.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.full
def test_the_javascript_it_shows_runs(tab: Tab, installed: Path, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(installed / "node_modules")
    (tmp_path / "paint.mjs").write_text(_code(tab, "JavaScript"), "utf-8")
    _run(["node", "paint.mjs"], tmp_path)
    assert (tmp_path / "picture-0.png").read_bytes().startswith(b"\x89PNG")


def _code(tab: Tab, kind: str) -> str:
    tab.page.fill("#prompt", 'it\'s a "red" circle')
    tab.page.click("#more summary")
    tab.page.fill("#more-steps", "2")
    tab.page.click("#code summary")
    tab.page.click(f".tabs >> text={kind}")
    tab.page.locator(f"pre[aria-label$={kind}]").wait_for()
    return tab.text("pre")


def _run(command: list[str], folder: Path) -> bytes:
    environment = {**os.environ, "OPENAI_API_KEY": KEY}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
