"""The history of pictures in a real browser: kept, painted again to the bit, there while the server is away."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.kit.browser import Tab, opened
from tests.kit.hostile import FILE_NAMES, HOSTILE, TRACES, UNTOUCHED
from tests.kit.live_pictures import png
from tests.kit.servers import Server

ENTRY = "#view-history ol[aria-label='Kept pictures'] > li"
BARE = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAADElEQVR4nGNgGB4AAADIAAGtQHYiAAAAAElFTkSuQmCC"


@pytest.fixture
def tab(browser: Any, live: Server) -> Iterator[Tab]:
    with opened(browser, live.url) as one:
        yield one


def painted(tab: Tab, prompt: str = "a red circle", pictures: int = 1) -> None:
    tab.page.click("nav a[href='#paint']")
    tab.page.fill("#n", str(pictures))
    tab.paint(prompt)
    tab.page.locator("#status", has_text=f"{pictures} of {pictures} painted.").wait_for()


def history(tab: Tab, entries: int) -> Any:
    """Its entries, once there are so many."""
    tab.page.click("nav a[href='#history']")
    tab.page.wait_for_function("([query, n]) => document.querySelectorAll(query).length === n", arg=[ENTRY, entries])
    return tab.page.locator(ENTRY)


def test_a_picture_is_kept_over_a_reload_and_painted_again_to_the_bit(tab: Tab) -> None:
    painted(tab)
    tab.page.reload()
    (entry,) = history(tab, 1).all()
    entry.locator("text=Paint again").click()
    tab.page.locator(".same", has_text="the same picture, bit for bit").wait_for()
    assert tab.trouble == []


@pytest.mark.full
def test_another_seed_is_another_picture_and_both_can_go(tab: Tab) -> None:
    painted(tab, pictures=2)
    history(tab, 2).first.locator("text=Another seed").click()
    entries = history(tab, 3)
    seeds = {text.partition("seed ")[2] for text in entries.locator(".about > p:first-child").all_inner_texts()}
    assert len(seeds) == 3
    with tab.page.expect_download() as saved:
        entries.first.locator("text=Download").click()
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")
    entries.first.locator("text=Delete").click()
    history(tab, 2)
    tab.page.click("text=Clear the history")
    tab.page.click("dialog >> text=Leave it")
    assert tab.page.locator(ENTRY).count() == 2
    tab.page.click("text=Clear the history")
    tab.page.click("dialog >> text=Forget them all")
    history(tab, 0)
    assert tab.page.locator("#view-history .empty").is_visible()


@pytest.mark.full
@pytest.mark.parametrize("what", ["edit", "variation"])
def test_what_was_made_from_a_picture_is_painted_again_from_it(tab: Tab, what: str) -> None:
    tab.page.click("nav a[href='#edit']")
    picture = png(Image.linear_gradient("L").resize((128, 128)).convert("RGB"))
    tab.page.set_input_files("#edit-image", {"name": "a.png", "mimeType": "image/png", "buffer": picture})
    if what == "variation":
        tab.page.click("button:text-is('Vary')")
    else:
        tab.page.fill("#edit-prompt", "a blue circle")
    tab.page.click("form.edit button[type=submit]")
    tab.page.locator("form.edit [role=status]:has-text('painted.')").wait_for()
    (entry,) = history(tab, 1).all()
    entry.locator("text=Paint again").click()
    tab.page.locator(".same", has_text="the same picture, bit for bit").wait_for()


@pytest.mark.full
def test_who_keeps_nothing_finds_nothing(tab: Tab) -> None:
    history(tab, 0)
    tab.page.uncheck("#keep-pictures")
    painted(tab)
    history(tab, 0)
    tab.page.reload()
    assert not tab.page.is_checked("#keep-pictures")
    tab.page.check("#keep-pictures")
    painted(tab)
    history(tab, 1)


@pytest.mark.full
def test_the_oldest_go_when_there_are_too_many(tab: Tab) -> None:
    kept = tab.page.evaluate(
        """async () => {
          const { MOST_PICTURES, MOST_BYTES, keep, kept } = await import("./page/kept.js");
          const picture = new Blob([new Uint8Array(1000)], { type: "image/png" });
          for (let seed = 0; seed < MOST_PICTURES + 3; seed++) await keep({ picture, body: {}, told: { seed } });
          const many = (await kept()).map(({ told }) => told.seed);
          const large = new Blob([new Uint8Array(MOST_BYTES / 2)], { type: "image/png" });
          for (let seed = 1000; seed < 1003; seed++) await keep({ picture: large, body: {}, told: { seed } });
          return [many, (await kept()).map(({ told }) => told.seed), MOST_PICTURES];
        }"""
    )
    many, few, most = kept
    assert many == [*range(most + 2, 2, -1)]
    assert few == [1002, 1001]


@pytest.mark.full
def test_a_recipe_is_read_out_of_a_picture_and_hostile_text_stays_text(tab: Tab, tmp_path: Path) -> None:
    tab.page.click("#more summary")
    tab.page.select_option("#more-embed_recipe", "true")
    painted(tab, "".join(HOSTILE[:5]))
    entries = history(tab, 1)
    with tab.page.expect_download() as saved:
        entries.first.locator("text=Download").click()
    file = tmp_path / f"{FILE_NAMES[0]}.png"
    saved.value.save_as(file)
    tab.page.set_input_files("#recipe-file", file)
    read = tab.page.locator("ol[aria-label='Files that were read'] > li")
    read.locator("summary").click()
    assert "".join(HOSTILE[:5]) in read.locator("pre").inner_text().replace('\\"', '"')
    read.locator("text=Paint again").click()
    read.locator(".same", has_text="the same picture, bit for bit").wait_for()
    (tmp_path / "bare.png").write_bytes(base64.b64decode(BARE))
    tab.page.set_input_files("#recipe-file", tmp_path / "bare.png")
    tab.page.locator("#view-history .error:not([hidden])").wait_for()
    assert tab.page.evaluate(TRACES) == UNTOUCHED
    tab.page.set_viewport_size({"width": 390, "height": 844})
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.full
def test_what_is_kept_is_there_while_the_server_is_away(tab: Tab) -> None:
    painted(tab)
    tab.page.wait_for_load_state("networkidle")
    tab.page.context.set_offline(True)
    entries = history(tab, 1)
    tab.page.locator("#view-history .error[role=alert]", has_text="The server cannot be reached.").wait_for()
    with tab.page.expect_download() as saved:
        entries.first.locator("text=Download").click()
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")
    entries.first.locator("text=Paint again").click()
    tab.page.locator("#view-history li .error", has_text="The server cannot be reached.").wait_for()
    tab.page.context.set_offline(False)
    tab.page.click("nav a[href='#paint']")
    history(tab, 1)
    tab.page.locator("#view-history .error[role=alert]").wait_for(state="hidden")
