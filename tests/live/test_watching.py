"""The metrics of a running server, as Prometheus's own tools read them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kit.loopback import loopback
from tests.kit.servers import Server, free_port, until
from tests.live.conftest import Paint

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="prometheus and promtool come with Debian's package prometheus",
)


@needs_prometheus
def test_promtool_finds_nothing_to_say(live: Server, paint: Paint) -> None:
    paint(model="demo+sunset", steps=2)
    text = loopback.get(f"{live.url}/metrics").text
    told = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)

    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


@needs_prometheus
def test_prometheus_scrapes_it(live: Server, paint: Paint, tmp_path: Path) -> None:
    paint(steps=2)
    painted = live.metric('sdxl_gateway_images_generated_total{model="demo"}')
    with _prometheus(tmp_path, live.url.removeprefix("http://")) as url:
        target = until(lambda: _scraped(url), seconds=60)
        found = until(lambda: _query(url, "sdxl_gateway_images_generated_total"), seconds=60)

    assert target is not None
    assert (target["health"], target["lastError"]) == ("up", "")
    assert painted >= 1
    assert [(one["metric"]["model"], float(one["value"][1])) for one in found] == [("demo", painted)]


@contextmanager
def _prometheus(folder: Path, target: str) -> Iterator[str]:
    settings = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{"job_name": "gateway", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(settings))
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
        try:
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(timeout=30)


def _scraped(url: str) -> dict[str, Any] | None:
    """The target once it was scraped, well or badly."""
    try:
        targets = loopback.get(f"{url}/api/v1/targets").json()["data"]["activeTargets"]
    except (httpx.TransportError, ValueError):
        return None
    return next((target for target in targets if target["health"] != "unknown"), None)


def _query(url: str, query: str) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = loopback.get(f"{url}/api/v1/query", params={"query": query}).json()["data"]["result"]
    return result
