"""The operators' view in a real browser: what the server holds and does, keys, jobs, reviews; who sees none of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.kit.browser import Tab, opened
from tests.kit.hostile import HOSTILE, TRACES, UNTOUCHED
from tests.kit.servers import Server, server, until

WORDS = "".join(HOSTILE[:3])
GENERATE, STATUS = "/v1/images/generations", "/v1/admin/status"
PLACE = "#view-operate"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Flags what a prompt with the word "star" paints; its device has room for little more than a checkpoint."""
    settings: dict[str, Any] = {
        "auth__api_keys": "alpha",
        "auth__admin_keys": "root",
        "safety__deny_words": "star",
        "safety__policy": "flag",
        "memory__vram_budget_bytes": "16000000",
        "memory__pristine": "device",
        "enhancer__key": "s3cr3t-of-the-enhancer",
    }
    with server(tmp_path_factory.mktemp("operate"), **settings) as one:
        yield one


@pytest.fixture(scope="module")
def alpha(house: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=house.url, headers={"api-key": "alpha"}, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def root(house: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=house.url, headers={"api-key": "root"}, timeout=120) as client:
        yield client


@pytest.fixture
def tab(browser: Any, house: Server) -> Iterator[Tab]:
    """The view as an operator sees it; nothing may go wrong in it."""
    with opened(browser, f"{house.url}/#operate") as one:
        given(one, "root")
        one.page.locator(f"{PLACE} .summary:not(:empty)").wait_for()
        one.trouble.clear()
        yield one
        assert one.trouble == []
        assert one.page.evaluate(TRACES) == UNTOUCHED


def given(tab: Tab, key: str) -> None:
    tab.page.fill("#key", key)
    tab.page.press("#key", "Enter")
    tab.page.locator("#ask-key").wait_for(state="hidden")


def panel(tab: Tab, name: str) -> None:
    tab.page.click(f"{PLACE} .tabs >> text={name}")
    tab.page.locator(f"{PLACE} .panel h2", has_text=name).wait_for()


def row(tab: Tab, words: str) -> Any:
    return tab.page.locator(f"{PLACE} tbody tr", has_text=words)


def paint(client: httpx.Client, **said: object) -> httpx.Response:
    answer = client.post(GENERATE, json={"prompt": "a red circle", "steps": 3, **said})
    assert answer.is_success, answer.text
    return answer


def test_who_may_not_operate_is_told_why_and_sees_nothing(browser: Any, live: Server) -> None:
    with opened(browser, f"{live.url}/#operate") as tab:
        tab.page.locator(f"{PLACE} .denied:not([hidden])").wait_for()
        assert "role 'admin'" in tab.text(f"{PLACE} .why")
        assert not tab.page.locator(f"{PLACE} .tabs").is_visible()
        assert tab.page.locator(f"{PLACE} table, {PLACE} figure").count() == 0
        assert sum("/v1/admin/" in address for address in tab.asked) == 1


@pytest.mark.full
def test_the_ledger_and_the_queue_of_a_server_that_paints(tab: Tab, house: Server, alpha: httpx.Client) -> None:
    paint(alpha, model="demo+outline:0.8")
    body, later = {"prompt": "a", "model": "demo+outline:0.8", "steps": 150}, {"prefer": "respond-async"}
    jobs = [alpha.post(GENERATE, json=body, headers=later).json()["id"] for _ in range(6)]
    tab.page.locator(f"{PLACE} dd:text-is('outline × 0.8')").wait_for()
    tab.page.locator(f"{PLACE} .card p", has_text=re.compile("[1-9] waiting, [1-9] in hand")).wait_for()
    tab.page.locator(
        f"{PLACE} svg[aria-label^='Steps a second']:not([aria-label$='highest 0.0'],[aria-label$='–'])"
    ).wait_for()
    for job in jobs:
        alpha.post(f"/v1/jobs/{job}/cancel").raise_for_status()
    said = tab.page.locator(f"{PLACE} svg.ledger").get_attribute("aria-label")
    for part in ("checkpoints", "pristine copies", "LoRA factors", "free"):
        assert part in said
        assert row(tab, part).count() == 1
    assert tab.page.locator(f"{PLACE} svg.ledger rect.part").count() >= 4
    engine = httpx.get(f"{house.url}{STATUS}", headers={"api-key": "root"}).json()["engines"][0]["device_memory"]
    assert engine["held_bytes"] + engine["free_bytes"] == engine["budget_bytes"]
    figures = [one.get_attribute("aria-label") for one in tab.page.locator(f"{PLACE} figure svg").all()]
    assert [one.split(",")[0] for one in figures] == [
        "Pictures a minute",
        "Steps a second",
        "Jobs",
        "Time of a job",
        "On the devices",
    ]
    assert all("highest" in one for one in figures)


@pytest.mark.full
def test_it_asks_once_a_tick_and_only_while_somebody_looks(tab: Tab) -> None:
    def asked() -> int:
        return sum(address.endswith(STATUS) for address in tab.asked)

    tab.asked.clear()
    tab.page.wait_for_timeout(7000)
    assert 1 <= asked() <= 3
    assert asked() == len(tab.asked)
    tab.page.click("nav >> text=Paint")
    tab.page.wait_for_timeout(500)
    tab.asked.clear()
    tab.page.wait_for_timeout(5000)
    assert tab.asked == []
    with tab.page.expect_response(lambda answer: answer.url.endswith(STATUS)):
        tab.page.click("nav >> text=Operate")


@pytest.mark.full
def test_a_server_that_goes_away_is_told_of_and_comes_back(tab: Tab) -> None:
    tab.page.context.set_offline(True)
    tab.page.locator(f"{PLACE} .notice", has_text="The server cannot be reached.").wait_for()
    assert tab.page.locator(f"{PLACE}.stale svg.ledger").count() == 1
    tab.page.context.set_offline(False)
    tab.page.locator(f"{PLACE} .notice", has_text="The server is back.").wait_for()
    assert tab.page.locator(f"{PLACE}.stale").count() == 0
    tab.trouble.clear()


@pytest.mark.full
def test_a_key_is_made_shown_once_rotated_and_revoked(tab: Tab, house: Server) -> None:
    panel(tab, "Keys")
    tab.page.click(f"{PLACE} summary >> text=Make a key")
    tab.page.click("text=Make the key")
    tab.page.locator("#new-key-tenant[aria-invalid=true]").wait_for()
    assert "tenant" in tab.text("#new-key-tenant-error")
    tab.trouble.clear()
    tab.page.fill("#new-key-tenant", "art")
    tab.page.fill("#new-key-name", HOSTILE[0])
    tab.page.fill("#new-key-models", "demo*, sketch")
    tab.page.fill("#new-key-expires_in", "2")
    tab.page.check("#new-key-roles-generate")
    tab.page.check("#new-key-roles-metrics")
    tab.page.click("text=Make the key")
    key = tab.page.locator("#new-key-text").input_value()
    assert status(house, key) == 200
    tab.page.click("text=I have it")
    made = row(tab, "demo*, sketch")
    made.wait_for()
    assert HOSTILE[0] in made.inner_text()
    assert "generate, metrics" in made.inner_text()
    assert "good until" in made.inner_text()
    assert key not in tab.page.content()
    made.locator("text=Rotate").click()
    tab.page.click("dialog button:text-is('Make the new key')")
    rotated = tab.page.locator("#new-key-text").input_value()
    tab.page.click("text=I have it")
    row(tab, "rotated").wait_for()
    assert (status(house, key), status(house, rotated)) == (200, 200)
    row(tab, "✓ good").locator("text=Revoke").click()
    tab.page.click("dialog button:text-is('Leave it')")
    assert status(house, rotated) == 200
    row(tab, "✓ good").locator("text=Revoke").click()
    tab.page.click("dialog button:text-is('Revoke it')")
    row(tab, "✗ revoked").wait_for()
    assert (status(house, key), status(house, rotated)) == (200, 401)


def status(house: Server, key: str) -> int:
    return httpx.get(f"{house.url}/v1/models", headers={"api-key": key}).status_code


@pytest.mark.full
def test_a_job_is_followed_and_cancelled(tab: Tab, alpha: httpx.Client, house: Server) -> None:
    answer = alpha.post(GENERATE, json={"prompt": "a", "steps": 150}, headers={"prefer": "respond-async"})
    job = answer.json()["id"]
    panel(tab, "Jobs")
    row(tab, job).locator("td", has_text=re.compile(r"step \d+ of 150")).wait_for()
    row(tab, job).locator("text=Cancel").click()
    tab.page.click("dialog button:text-is('Cancel the job')")
    row(tab, job).locator("td", has_text="cancelled").wait_for()
    assert row(tab, job).locator("button").count() == 0
    assert alpha.get(f"/v1/jobs/{job}").json()["state"] == "cancelled"
    tab.page.select_option("#filter-jobs-state", "completed")
    row(tab, job).wait_for(state="detached")
    until(house.is_idle)


@pytest.mark.full
def test_a_batch_of_another_tenant_is_counted_and_cancelled(tab: Tab, alpha: httpx.Client) -> None:
    body = {"prompt": "a", "steps": 40}
    asked = [{"custom_id": str(number), "method": "POST", "url": GENERATE, "body": body} for number in range(20)]
    lines = "\n".join(map(json.dumps, asked)).encode()
    file = alpha.post("/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", lines)}).json()["id"]
    said = {"input_file_id": file, "endpoint": GENERATE, "completion_window": "24h"}
    batch = alpha.post("/v1/batches", json=said).json()["id"]
    panel(tab, "Batches")
    row(tab, batch).locator("td:text-is('20')").wait_for()
    row(tab, batch).locator("text=Cancel").click()
    tab.page.click("dialog button:text-is('Cancel the batch')")
    row(tab, batch).locator("td", has_text=re.compile("^cancell")).wait_for()
    until(lambda: alpha.get(f"/v1/batches/{batch}").json()["status"] == "cancelled")


@pytest.mark.full
def test_a_review_is_looked_at_blurred_and_decided(tab: Tab, alpha: httpx.Client, root: httpx.Client) -> None:
    paint(alpha, prompt=f"a star {WORDS}")
    panel(tab, "Reviews")
    (review,) = root.get("/v1/admin/reviews", params={"state": "open"}).json()["data"]
    card = tab.page.locator(f"{PLACE} .review")
    assert WORDS in card.inner_text()
    assert card.locator("img").count() == 0
    card.locator("text=Look at it, blurred").click()
    card.locator("img.blurred").wait_for()
    assert "blurred" in card.locator("img").get_attribute("alt")
    card.locator("text=Show it clearly").click()
    assert card.locator("img.blurred").count() == 0
    card.locator("input").fill("not here")
    card.locator("text=Reject").click()
    card.wait_for(state="detached")
    decided = root.get(f"/v1/admin/reviews/{review['id']}").json()
    assert (decided["state"], decided["note"]) == ("rejected", "not here")
    alpha.post(f"/v1/moderations/reviews/{review['id']}/appeal", json={"text": WORDS}).raise_for_status()
    tab.page.select_option("#reviews-state", "appealed")
    card.wait_for()
    assert WORDS in card.locator("dl").inner_text()
    root.post(f"/v1/admin/reviews/{review['id']}", json={"decision": "approve"}).raise_for_status()
    card.locator("text=Approve").click()
    card.wait_for(state="detached")
    tab.trouble.clear()


@pytest.mark.full
def test_usage_and_settings_are_told_and_secrets_are_not(tab: Tab, alpha: httpx.Client) -> None:
    paint(alpha)
    panel(tab, "Usage")
    tab.page.locator(f"{PLACE} caption", has_text="By day").wait_for()
    until(lambda: refreshed(tab) > 0)
    panel(tab, "Settings")
    row(tab, "enhancer.key").wait_for()
    assert "set, hidden" in row(tab, "enhancer.key").inner_text()
    assert "SIGHUP" in row(tab, "server.strict").inner_text()
    assert "a restart" in row(tab, "server.port").inner_text()
    assert "s3cr3t" not in tab.page.content()
    tab.page.fill("#settings-search", "deny_w")
    assert tab.page.locator(f"{PLACE} tbody tr").count() == 1
    assert "star" in row(tab, "safety.deny_words").inner_text()
    tab.page.fill("#settings-search", "")
    tab.page.check("#settings-set")
    assert row(tab, "server.strict").count() == 0


def refreshed(tab: Tab) -> int:
    """Rows of usage, which is written down within a second or so."""
    tab.page.click(f"{PLACE} .refresh")
    tab.page.wait_for_timeout(500)
    return int(tab.page.locator(f"{PLACE} tbody tr").count())


@pytest.mark.full
def test_a_key_for_painting_sees_nothing_also_of_what_another_saw(tab: Tab) -> None:
    panel(tab, "Settings")
    row(tab, "server.port").wait_for()
    tab.page.click("#change-key")
    given(tab, "alpha")
    tab.page.locator(f"{PLACE} .denied:not([hidden])").wait_for()
    assert tab.page.locator(f"{PLACE} tbody tr").count() == 0
    tab.page.click(f"{PLACE} >> text=Use another key")
    given(tab, "root")
    row(tab, "server.port").wait_for()
    tab.trouble.clear()


@pytest.mark.full
def test_on_a_phone_nothing_is_wider_than_it(tab: Tab) -> None:
    tab.page.set_viewport_size({"width": 390, "height": 844})
    for name in ("Jobs", "Batches", "Keys", "Usage", "Reviews", "Settings"):
        panel(tab, name)
        assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
