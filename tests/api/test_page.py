"""Tests api/endpoints/page.py and the files it serves: small, open to anybody, and closed to foreign scripts."""

from __future__ import annotations

import re

import pytest

from sdxl_gateway.api.endpoints.page import FIRST, FOLDER, files
from tests.kit.api import KEYED, client, served_api

PATHS = ["/", *(f"/page/{name}" for name in files() if name != FIRST)]
SOURCES = {path.name: path.read_text("utf-8") for path in FOLDER.iterdir()}


@pytest.mark.parametrize("path", PATHS)
async def test_a_file_of_the_page_is_open_and_no_foreign_script_runs_in_it(path: str) -> None:
    async with client(served_api(**KEYED)) as http:
        answer = await http.get(path)
        head = await http.head(path)
    policy = answer.headers["content-security-policy"]
    assert (answer.status_code, head.status_code) == (200, 200)
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert head.headers["etag"] == answer.headers["etag"]
    assert answer.headers["content-type"].startswith(("text/html", "text/css", "text/javascript"))


@pytest.mark.parametrize("path", PATHS)
async def test_what_a_browser_has_is_not_sent_again(path: str) -> None:
    async with client(served_api()) as http:
        etag = (await http.get(path)).headers["etag"]
        same = await http.get(path, headers={"if-none-match": f'"other", W/{etag}'})
        other = await http.get(path, headers={"if-none-match": '"other"'})
    assert (same.status_code, same.content, same.headers["cache-control"]) == (304, b"", "no-cache")
    assert same.headers["etag"] == etag
    assert other.status_code == 200


@pytest.mark.parametrize("name", ["nothing.js", FIRST, "..%2fapp.py", "%2e%2e%2f%2e%2e%2fconfig.toml"])
async def test_nothing_else_is_served(name: str) -> None:
    async with client(served_api()) as http:
        assert (await http.get(f"/page/{name}")).status_code == 404


async def test_off_there_is_no_page() -> None:
    async with client(served_api(server={"page": False}, **KEYED)) as http:
        assert (await http.get("/")).status_code == 401
        assert (await http.get("/page/app.js")).status_code == 401
        assert (await http.get("/docs")).status_code == 401


async def test_docs_lead_to_the_view_of_the_api_behind_any_prefix() -> None:
    async with client(served_api(**KEYED)) as http:
        answer = await http.get("/docs", follow_redirects=False)
        assert (await http.get("/docs", follow_redirects=True)).content == files()[FIRST].data
    assert (answer.status_code, answer.headers["location"]) == (307, "./#api")
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_page_is_small() -> None:
    assert sum(len(file.data) for file in files().values()) < 250_000
    assert files().keys() == SOURCES.keys()


def test_text_is_never_read_as_markup() -> None:
    for name, source in SOURCES.items():
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function", source), name
        assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?! type=\"module\" src)", source), name


def test_nothing_is_asked_of_another_host_and_a_prefix_stays_before_all() -> None:
    for name, source in SOURCES.items():
        assert set(re.findall(r"https?://[\w.]+", source)) <= {"http://www.w3.org"}, name
        assert not re.search(r"(?:href|src)=\"/|from \"/|import\(\"/|json\(\"/", source), name
