"""The shelf in a real browser: a LoRA comes, is described, painted with, and goes; strangers' text stays text."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdxl_gateway.config import DEMO_LORAS
from tests.kit.api import served_api
from tests.kit.browser import Tab, opened
from tests.kit.hostile import FILE_NAMES, HOSTILE, TRACES, UNTOUCHED
from tests.kit.lora_files import file_bytes, lora_tensors
from tests.kit.model_folders import copy_of_demo
from tests.kit.page_alone import SAID, Alone, alone
from tests.kit.schema_answers import SchemaAnswers
from tests.kit.servers import Server, server, until
from tests.kit.single_files import write_single_file

KEY, ADMIN = "alpha", "root"
SUNSET = DEMO_LORAS / "sunset.safetensors"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("shelf"), auth__api_keys=KEY, auth__admin_keys=ADMIN) as one:
        yield one


@pytest.fixture
def tab(browser: Any, shelf: Server) -> Iterator[Tab]:
    """An operator's, at the shelf."""
    with opened(browser, f"{shelf.url}/#shelf") as one:
        give(one, ADMIN)
        yield one


def give(tab: Tab, key: str) -> None:
    tab.page.locator("#ask-key").wait_for()
    tab.page.fill("#key", key)
    tab.page.press("#key", "Enter")
    row(tab, "sunset").wait_for()
    tab.trouble.clear()


def row(tab: Tab, name: str) -> Any:
    return tab.page.locator("#view-shelf .rows > li").filter(
        has=tab.page.locator(".what").get_by_text(name, exact=True)
    )


def upload(tab: Tab, what: str = "LoRA") -> Any:
    return tab.page.locator(f"form[aria-label='Add a {what}']")


def add(tab: Tab, file: Path, name: str, what: str = "LoRA") -> None:
    upload(tab, what).locator("input[type=file]").set_input_files(file)
    upload(tab, what).locator("input[type=text]").fill(name)
    upload(tab, what).get_by_text("Upload", exact=True).click()


def test_a_lora_comes_is_described_painted_with_and_goes(tab: Tab, shelf: Server) -> None:
    add(tab, SUNSET, "art/dusk")
    dusk = row(tab, "art/dusk")
    dusk.locator("summary").first.click()
    dusk.get_by_text("Describe it").click()
    dusk.get_by_label("description", exact=True).fill("Warm skies.")
    dusk.get_by_label("trigger words", exact=True).fill("dusk\nwarm light")
    dusk.get_by_label("weight", exact=True).fill("0.6")
    dusk.get_by_text("Save").click()
    dusk.get_by_text("dusk, warm light").wait_for()
    assert (shelf.loras / "art" / "dusk.toml").read_text() == (
        'description = "Warm skies."\ntrigger_words = ["dusk", "warm light"]\nweight = 0.6\n'
    )
    dusk.get_by_text("Blend it").click()
    tab.page.locator("#chips").get_by_text("+ warm light").click()
    assert tab.text("#model-name") == '"art/dusk:0.6"'
    tab.page.click("#paint")
    tab.painted()
    tab.page.click("nav a[href='#shelf']")
    dusk.locator(".tier[data-tier=on]").wait_for()
    dusk.get_by_text("Delete").click()
    tab.page.click("dialog >> text=Delete it")
    dusk.wait_for(state="detached")
    assert not (shelf.loras / "art" / "dusk.safetensors").exists()
    assert tab.trouble == []


@pytest.mark.full
def test_a_checkpoint_is_described_and_goes(tab: Tab, shelf: Server) -> None:
    folder = shelf.folder / "checkpoints" / "art"
    folder.mkdir(parents=True)
    copy_of_demo(shelf.folder / "away").rename(folder / "soft")
    soft = row(tab, "art/soft")
    soft.locator("summary").first.click()
    soft.get_by_text("Describe it").click()
    soft.get_by_label("description", exact=True).fill(HOSTILE[0])
    soft.get_by_label("guidance end", exact=True).fill("2")
    soft.get_by_text("Save").click()
    soft.locator("[data-field=guidance_end] .error:not([hidden])").wait_for()
    tab.trouble.clear()
    soft.get_by_label("guidance end", exact=True).fill("0.5")
    soft.get_by_text("Save").click()
    soft.locator(".body > p").get_by_text(HOSTILE[0], exact=True).wait_for()
    said = tomllib.loads((folder / "soft.toml").read_text())
    assert said == {"description": HOSTILE[0], "guidance_end": 0.5}
    demo = row(tab, "demo")
    demo.locator("summary").first.click()
    demo.get_by_text("Paint with it").wait_for()
    assert demo.get_by_text("Delete", exact=True).count() == demo.get_by_text("Describe it").count() == 0
    soft.get_by_text("Delete", exact=True).click()
    tab.page.click("dialog >> text=Delete it")
    soft.wait_for(state="detached")
    assert list(folder.iterdir()) == []
    assert tab.page.evaluate(TRACES) == UNTOUCHED
    assert tab.trouble == []


@pytest.mark.full
def test_a_checkpoint_comes(tab: Tab, shelf: Server, tmp_path: Path) -> None:
    """What is no SDXL is refused at the file; a side-car that waits in the folder says what the demo's shapes are."""
    folder, file = shelf.folder / "checkpoints", write_single_file(tmp_path / "hard.safetensors")
    add(tab, SUNSET, "sunset", "checkpoint")
    upload(tab, "checkpoint").locator("#upload-checkpoint-file-error:not([hidden])").wait_for()
    folder.mkdir(exist_ok=True)
    (folder / "hard.toml").write_text('config = "demo"\n')
    tab.trouble.clear()
    add(tab, file, "hard", "checkpoint")
    row(tab, "hard").wait_for()
    assert (folder / "hard.safetensors").read_bytes() == file.read_bytes()
    assert tab.trouble == []


@pytest.mark.full
def test_who_may_only_paint_is_offered_no_more(browser: Any, shelf: Server) -> None:
    with opened(browser, f"{shelf.url}/#shelf") as tab:
        give(tab, KEY)
        row(tab, "sunset").locator("summary").first.click()
        row(tab, "sunset").get_by_text("Blend it").wait_for()
        for offered in ("Delete", "Describe it", "Upload"):
            assert tab.page.locator("#view-shelf").get_by_text(offered, exact=True).count() == 0
        tab.page.click("text=Use another key")
        give(tab, ADMIN)
        for what in ("LoRA", "checkpoint"):
            upload(tab, what).get_by_text("Upload", exact=True).wait_for()


@pytest.mark.full
def test_a_refusal_stands_at_its_field_and_nothing_comes(tab: Tab, shelf: Server, tmp_path: Path) -> None:
    upload(tab).get_by_text("Upload", exact=True).click()
    upload(tab).locator("#upload-lora-file-error", has_text="Choose a file.").wait_for()
    add(tab, SUNSET, "../dusk")
    upload(tab).locator("#upload-lora-name-error:not([hidden])").wait_for()
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(SUNSET.read_bytes()[:-10])
    add(tab, broken, "broken")
    upload(tab).locator(".error:not([hidden])", has_text="cut short").wait_for()
    sunset = row(tab, "sunset")
    sunset.locator("summary").first.click()
    sunset.get_by_text("Describe it").click()
    sunset.get_by_label("weight", exact=True).fill("5")
    sunset.get_by_text("Save").click()
    sunset.locator("[data-field=weight] .error:not([hidden])").wait_for()
    sunset.get_by_text("Leave it").click()
    assert sorted(path.name for path in shelf.loras.iterdir() if path.suffix == ".safetensors") == sorted(
        path.name for path in DEMO_LORAS.glob("*.safetensors")
    )


@pytest.mark.full
def test_an_upload_shows_how_far_it_is_and_can_be_cancelled(tab: Tab, shelf: Server, tmp_path: Path) -> None:
    """A file of 256 MiB at 20 MB/s, as the browser is told to pretend."""
    large = tmp_path / "large.safetensors"
    with large.open("wb") as file:
        file.truncate(2**28)
    network = tab.page.context.new_cdp_session(tab.page)
    network.send("Network.enable")
    speed = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 20_000_000}
    network.send("Network.emulateNetworkConditions", speed)
    add(tab, large, "large")
    upload(tab).locator("[role=status]", has_text="% sent").wait_for()
    upload(tab).get_by_text("Cancel", exact=True).click()
    upload(tab).locator(".error", has_text="Cancelled").wait_for()
    assert not (shelf.loras / "large.safetensors").exists()


@pytest.mark.full
def test_strangers_text_stays_text(tab: Tab, shelf: Server) -> None:
    """Of names, side-cars, metadata and problems."""
    foreign = lora_tensors({"unet.nowhere.proj_in": (64, 64)})
    for number, text in enumerate(FILE_NAMES):
        told = {"modelspec.title": text, "modelspec.author": text, "ss_output_name": text}
        (shelf.loras / f"{text} bad.safetensors").write_bytes(file_bytes(foreign, told))
        shutil.copy(SUNSET, shelf.loras / f"{text}.safetensors")
        word = json.dumps(f"{text} {number}")
        (shelf.loras / f"{text}.toml").write_text(f"description = {word}\ntrigger_words = [{word}]\n{word} = 1\n")
    until(lambda: len(_problems(shelf)) >= 2 * len(FILE_NAMES))
    tab.page.click("nav a[href='#paint']")
    tab.page.click("nav a[href='#shelf']")
    for text in FILE_NAMES:
        found = row(tab, text)
        found.locator("summary").first.click()
        found.get_by_text("Describe it").click()
        found.get_by_label("description", exact=True).wait_for()
    tab.page.click("#view-shelf .problems summary")
    tab.page.fill("#shelf-search", "onload")
    tab.page.wait_for_function("document.querySelectorAll('#view-shelf [aria-label=LoRAs] .rows > li').length === 1")
    tab.page.fill("#shelf-search", "")
    tab.page.set_viewport_size({"width": 390, "height": 844})
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
    assert tab.page.evaluate(TRACES) == UNTOUCHED


@pytest.mark.full
@pytest.mark.parametrize("shared", [True, False])
def test_what_other_servers_have_too_is_not_described(browser: Any, shared: bool) -> None:
    said = SAID | {"in_folder": True, "shared": shared, "report": None, "roles": ["admin"]}
    answers = SchemaAnswers(served_api().app.state.document, lambda name: f"some {name}", said, items=1)
    with alone(browser, Alone(answers), "shelf") as tab:
        tab.page.set_default_timeout(20_000)
        upload(tab).wait_for()
        one = row(tab, "some id").first
        one.locator("summary").first.click()
        one.get_by_text("Delete", exact=True).wait_for()
        assert one.get_by_text("Describe it").count() == (not shared)


def _problems(one: Server) -> list[Any]:
    return list(httpx.get(f"{one.url}/v1/loras", headers={"api-key": KEY}).json()["problems"])
