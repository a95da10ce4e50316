"""Servers whose checkpoints lie in a bucket: pushed from a terminal, fetched when asked for, gone when removed."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from sdxl_gateway.cli import app
from sdxl_gateway.config import DEMO_MODEL, S3, CheckpointFolder, Engine, Settings
from tests.kit.api import GENERATE
from tests.kit.model_folders import copy_of_demo
from tests.kit.servers import server
from tests.kit.serving import served

pytest.importorskip("obstore", reason="needs the extra: pip install 'sdxl-gateway[s3]'")
pytest.importorskip("moto", reason="needs the extra: pip install 'sdxl-gateway[dev]'")

from sdxl_gateway.s3 import bucket as asked
from sdxl_gateway.s3 import checkpoint_catalog, fetches
from sdxl_gateway.s3.bucket import Bucket
from sdxl_gateway.s3.checkpoint_catalog import SharedCheckpointCatalog
from sdxl_gateway.s3.checkpoint_registry import CheckpointRegistry
from tests.kit.buckets import ObjectStore

# Building the application sets up the logs of the whole process, which other tests share.
pytestmark = pytest.mark.usefixtures("logs_as_they_were")
SAID = {"prompt": "a red circle", "size": "64x64", "steps": 2, "model": "house/demo"}


@pytest.fixture
def section(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> S3:
    for module, name in ((asked, "PAUSE_SECONDS"), (checkpoint_catalog, "POLL_SECONDS"), (fetches, "RETRY_SECONDS")):
        monkeypatch.setattr(module, name, 0.05)
    return object_store.bucket()


def run(section: S3, *words: str) -> str:
    """What the command prints, which has to end well."""
    environment = {f"SDXL_GATEWAY__S3__{key.upper()}": str(getattr(section, key)) for key in ("bucket", "endpoint")}
    told = CliRunner().invoke(app, ["s3", "checkpoints", *words], env=environment)
    assert told.exit_code == 0, told.output
    return told.output


def push(section: S3) -> str:
    return run(section, "push", str(DEMO_MODEL), "--name", "house/demo")


async def shown(gateway: httpx.AsyncClient) -> dict[str, str]:
    """Where each checkpoint is."""
    return {one["id"]: one["tier"] for one in (await gateway.get("/v1/checkpoints")).json()["data"]}


async def until(gateway: httpx.AsyncClient, expected: dict[str, str]) -> None:
    while await shown(gateway) != expected:  # noqa: ASYNC110 - as a client would
        await asyncio.sleep(0.05)


def nowhere(folder: Path) -> CheckpointFolder:
    return CheckpointFolder(directory=folder / "checkpoints")


async def test_one_pushed_is_at_both_servers_and_one_removed_at_none(section: S3, tmp_path: Path) -> None:
    hasty: dict[str, Any] = {"s3": section, "engine": Engine(load_wait_seconds=0.001)}
    async with (
        served(tmp_path / "one", checkpoint_folder=nowhere(tmp_path / "one"), **hasty) as one,
        served(tmp_path / "two", checkpoint_folder=nowhere(tmp_path / "two"), **hasty) as two,
        asyncio.timeout(60),
    ):
        assert "'house/demo' is in the bucket: 14 files, 13.6 MiB" in await asyncio.to_thread(push, section)
        for gateway in (one, two):
            await until(gateway, {"demo": "disk", "house/demo": "bucket"})
        refused = await one.post(GENERATE, json=SAID)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "model_loading")
        assert int(refused.headers["retry-after"]) >= 1
        await until(one, {"demo": "disk", "house/demo": "disk"})
        assert (await one.post(GENERATE, json=SAID)).status_code == 200
        assert await shown(two) == {"demo": "disk", "house/demo": "bucket"}
        fetched = 'sdxl_gateway_checkpoint_fetch_seconds_count{outcome="fetched"} 1.0'
        assert (fetched in (await one.get("/metrics")).text, fetched in (await two.get("/metrics")).text) == (
            True,
            False,
        )
        listed = await asyncio.to_thread(run, section, "list")
        assert ("house/demo" in listed, "13.6 MiB" in listed) == (True, True)
        await asyncio.to_thread(run, section, "remove", "house/demo")
        for gateway in (one, two):
            await until(gateway, {"demo": "disk"})
            assert (await gateway.post(GENERATE, json=SAID)).status_code == 404


def test_others_hear_of_it_within_five_seconds() -> None:
    assert checkpoint_catalog.POLL_SECONDS < 5


async def test_a_stored_job_waits_for_its_checkpoint(section: S3, tmp_path: Path) -> None:
    push(section)
    hasty: dict[str, Any] = {"s3": section, "engine": Engine(load_wait_seconds=0.001)}
    async with (
        served(tmp_path, checkpoint_folder=nowhere(tmp_path), **hasty) as gateway,
        asyncio.timeout(60),
    ):
        accepted = await gateway.post(GENERATE, json=SAID, headers={"prefer": "respond-async"})
        assert accepted.status_code == 202
        job = f"/v1/jobs/{accepted.json()['id']}"
        while (await gateway.get(job)).json()["state"] != "completed":  # noqa: ASYNC110 - as a client would
            await asyncio.sleep(0.05)


async def test_the_default_model_may_lie_in_the_bucket_alone(
    object_store: ObjectStore, section: S3, tmp_path: Path
) -> None:
    push(section)
    alone: dict[str, Any] = {"s3": section, "checkpoints": {}, "default_model": "house/demo"}
    async with served(tmp_path, checkpoint_folder=nowhere(tmp_path), **alone) as gateway, asyncio.timeout(60):
        while (await gateway.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - as a load balancer would
            await asyncio.sleep(0.05)
        assert await shown(gateway) == {"house/demo": "disk"}
        assert (await gateway.post(GENERATE, json={**SAID, "model": None})).status_code == 200


async def test_a_server_waits_for_a_silent_bucket_and_may_end_meanwhile(
    object_store: ObjectStore, section: S3, tmp_path: Path
) -> None:
    push(section)
    alone: dict[str, Any] = {"s3": section, "checkpoints": {}, "default_model": "house/demo"}
    alone["checkpoint_folder"] = nowhere(tmp_path)
    known = SharedCheckpointCatalog(
        CheckpointRegistry(Bucket(section)), Settings(data_directory=tmp_path / "data", **alone), {}
    )
    known.scan()
    object_store.down = True
    async with served(tmp_path, **alone) as gateway:
        assert (await gateway.get("/readyz")).status_code == 503
    async with served(tmp_path, **alone) as gateway, asyncio.timeout(60):
        assert (await gateway.post(GENERATE, json=SAID)).status_code == 503
        object_store.down = False
        while (await gateway.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - as a load balancer would
            await asyncio.sleep(0.05)
        assert (await gateway.post(GENERATE, json=SAID)).status_code == 200


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("push", "nothing.safetensors"), "does not exist"),
        (("push", "old.safetensors"), "too short to be a safetensors file"),
        (("push", "model", "--name", "../up"), "plain file names"),
        (("remove", "house/demo"), "There is no checkpoint 'house/demo' in the bucket."),
    ],
)
def test_what_cannot_be_is_told(
    section: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    copy_of_demo(tmp_path / "model")
    (tmp_path / "old.safetensors").write_bytes(b"?")
    environment = {f"SDXL_GATEWAY__S3__{key.upper()}": str(getattr(section, key)) for key in ("bucket", "endpoint")}
    found = CliRunner().invoke(app, ["s3", "checkpoints", *words], env=environment)
    assert found.exit_code != 0
    assert told in " ".join(found.output.split())


def test_without_a_bucket_nothing_is_shared() -> None:
    told = CliRunner().invoke(app, ["s3", "checkpoints", "list"])
    assert (told.exit_code, "no bucket is configured" in told.output) == (2, True)


@pytest.mark.full
def test_a_server_with_an_empty_disk_paints_what_the_bucket_has(section: S3, tmp_path: Path) -> None:
    push(section)
    said: dict[str, Any] = {"s3__bucket": section.bucket, "s3__endpoint": section.endpoint}
    (tmp_path / "config.toml").write_text("checkpoints = {}\n", "utf-8")
    with server(tmp_path, default_model="house/demo", **said) as one:
        body = {**SAID, "seed": 3, "response_format": "b64_json"}
        shared = httpx.post(one.url + GENERATE, json=body, timeout=240)
        assert shared.status_code == 200, shared.text
        assert [card["id"] for card in httpx.get(f"{one.url}/v1/checkpoints").json()["data"]] == ["house/demo"]
        copy_of_demo(tmp_path / "checkpoints" / "own")
        deadline = time.monotonic() + 60
        while (own := httpx.post(one.url + GENERATE, json={**body, "model": "own"}, timeout=240)).status_code != 200:
            assert time.monotonic() < deadline, own.text
        assert own.json()["data"][0]["b64_json"] == shared.json()["data"][0]["b64_json"]
