"""The page's reference of the API in a real browser: found, unfolded, tried with the key, taken home as curl."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.config import DEMO_LORAS
from tests.kit.browser import Tab, opened
from tests.kit.servers import Server, server

KEY = "alpha"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("api"), auth__api_keys=KEY) as one:
        yield one


def unfolded(tab: Tab, words: str) -> Any:
    """The one operation that these words find, with its form."""
    tab.page.fill("#api-find", words)
    operation = tab.page.locator(".operation:not([hidden])")
    assert operation.count() == 1
    operation.locator("summary").first.click()
    operation.locator(".try > summary").click()
    operation.locator(".tried").wait_for()
    return operation


def sent(operation: Any) -> str:
    operation.locator("button[type=submit]").click()
    operation.locator(".answer pre").wait_for()
    return str(operation.locator(".answer").inner_text())


def test_docs_show_the_reference_and_try_it(browser: Any, live: Server) -> None:
    with opened(browser, f"{live.url}/docs") as tab:
        tab.page.locator(".operation").first.wait_for()
        assert tab.text(".find [role=status]").startswith(f"{tab.page.locator('.operation').count()} of ")
        operation = unfolded(tab, "get /v1/models/{model}")
        operation.locator("details >> text=application/json: Model").click()
        assert "capabilities" in operation.locator(".fields-of .fields-of").inner_text()
        operation.locator("input").fill("demo+outline:0.8")
        answer = sent(operation)
        assert answer.startswith("200 OK")
        assert "demo+outline:0.8" in answer
        assert all(address.startswith((live.url, "data:")) for address in tab.asked)
        assert tab.page.evaluate("location.hash") == "#api/retrieveModel"
        tab.page.reload()
        opened_again = tab.page.locator(".operation[open]")
        opened_again.locator("text=Try it").wait_for()
        assert opened_again.count() == 1
        assert tab.trouble == []


@pytest.mark.full
def test_an_address_leads_to_an_operation(browser: Any, live: Server) -> None:
    with opened(browser, f"{live.url}/#api/deleteLora", viewport={"width": 390, "height": 600}) as tab:
        found = tab.page.locator(".operation[open]")
        found.locator("text=Try it").wait_for()
        assert found.locator("summary code").first.inner_text() == "/v1/loras/{name}"
        assert tab.page.locator("nav a[aria-current]").inner_text() == "API"
        assert found.locator("summary").first.evaluate("(one) => one === document.activeElement")
        assert 0 <= found.bounding_box()["y"] < 300
        tab.page.fill("#api-find", "webhook")
        tab.page.evaluate("location.hash = 'api/createImage'")
        painting = tab.page.locator(".operation[data-id=createImage][open]")
        painting.get_by_text("Try it").wait_for()
        assert tab.page.input_value("#api-find") == ""
        painting.locator("summary").first.click()
        tab.page.wait_for_function("location.hash === '#api'")
        tab.page.evaluate("location.hash = 'api/nothing%'")
        assert tab.page.locator("#view-api").is_visible()
        tab.page.goto(f"{live.url}/#elsewhere/at%all")
        tab.page.locator("#view-paint").wait_for()
        assert tab.trouble == []


@pytest.mark.full
def test_a_key_is_asked_for_and_sent(browser: Any, keyed: Server) -> None:
    with opened(browser, f"{keyed.url}/docs") as tab:
        tab.page.locator("#ask-key").wait_for()
        tab.page.fill("#key", KEY)
        tab.page.press("#key", "Enter")
        tab.page.locator("#ask-key").wait_for(state="hidden")
        assert sent(unfolded(tab, "listloras")).startswith("200 OK")
        assert sent(unfolded(tab, "getstatus")).startswith("403")


@pytest.mark.full
def test_a_picture_is_painted_and_its_bytes_are_not_spelt_out(browser: Any, live: Server) -> None:
    with opened(browser, f"{live.url}/docs") as tab:
        tab.page.locator(".operation").first.wait_for()
        operation = unfolded(tab, "createimage generations")
        operation.locator("textarea").fill(json.dumps({"prompt": "a red circle", "stream": True, "steps": 2}))
        operation.locator("button[type=submit]").click()
        operation.locator(".answer pre >> text=image_generation.completed").wait_for()
        assert "characters)" in operation.locator(".answer").inner_text()
        assert len(operation.locator(".answer").inner_text()) < 20_000


@pytest.mark.full
def test_a_file_is_sent_as_a_form(browser: Any, live: Server) -> None:
    lora = sorted(DEMO_LORAS.glob("*.safetensors"))[0]
    with opened(browser, f"{live.url}/docs") as tab:
        tab.page.locator(".operation").first.wait_for()
        operation = unfolded(tab, "createfile")
        operation.locator("[data-field=purpose] input, [data-field=purpose] select").first.wait_for()
        operation.locator("input[type=file]").set_input_files(lora)
        assert f"-F 'file=@\"{lora.name}\"'" in operation.locator("pre[aria-label$=curl]").inner_text()
        assert "purpose" in sent(operation)


@pytest.mark.full
def test_the_curl_it_shows_runs(browser: Any, live: Server, tmp_path: Path) -> None:
    with opened(browser, f"{live.url}/docs") as tab:
        tab.page.locator(".operation").first.wait_for()
        operation = unfolded(tab, "createimage generations")
        operation.locator("textarea").fill(json.dumps({"prompt": 'it\'s a "red" circle', "steps": 2}))
        command = operation.locator("pre[aria-label$=curl]").inner_text()
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True)
    assert json.loads(done.stdout)["data"][0]["b64_json"], done.stderr
