"""A checkpoint that lies in the bucket alone is painted with by the replicas of a real Ray cluster, at any gateway."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from sdxl_gateway.catalog.checkpoint_folder.scan import open_at
from sdxl_gateway.config import DEMO_MODEL, S3
from tests.kit.ray_cluster import engine_actors
from tests.kit.servers import Server, until
from tests.kit.topologies import gateways, ready_engines

pytest.importorskip("obstore", reason="needs the extra: pip install 'sdxl-gateway[s3]'")
pytest.importorskip("moto", reason="needs the extra: pip install 'sdxl-gateway[dev]'")

from sdxl_gateway.s3.bucket import Bucket
from sdxl_gateway.s3.checkpoint_registry import CheckpointRegistry
from sdxl_gateway.s3.manifest import files_of, manifest_of
from tests.kit.buckets import ObjectStore

pytestmark = pytest.mark.full
SAID = {
    "prompt": "a red circle",
    "size": "64x64",
    "steps": 3,
    "seed": 7,
    "guidance_scale": 1.0,
    "response_format": "b64_json",
}


@pytest.fixture
def both(object_store: ObjectStore, tmp_path: Path) -> Iterator[tuple[list[Server], S3]]:
    """Two gateways before two replicas on one node, which share a bucket."""
    section = object_store.bucket()
    with gateways(tmp_path, 2, 2, s3__bucket=section.bucket, s3__endpoint=section.endpoint) as some:
        yield some, section


def painted(one: Server, model: str) -> str:
    """The picture."""
    answer = httpx.post(f"{one.url}/v1/images/generations", json={**SAID, "model": model}, timeout=300)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["data"][0]["b64_json"])


def tier(one: Server) -> str | None:
    """Of the shared checkpoint; None while nobody knows of it."""
    cards = httpx.get(f"{one.url}/v1/checkpoints", timeout=60).json()["data"]
    return next((card["tier"] for card in cards if card["id"] == "house/demo"), None)


def test_replicas_fetch_it_once_for_their_node_and_one_that_comes_later_finds_it(
    object_store: ObjectStore, both: tuple[list[Server], S3], tmp_path: Path
) -> None:
    (first, second), section = both
    manifest = manifest_of(replace(open_at(DEMO_MODEL), name="house/demo"))
    CheckpointRegistry(Bucket(section)).push(manifest, files_of(DEMO_MODEL, "house/demo"))
    until(lambda: {tier(one) for one in both[0]} == {"bucket"}, every=0.5)
    golden = painted(first, "demo")
    assert painted(first, "house/demo") == painted(second, "house/demo") == golden
    until(lambda: {tier(one) for one in both[0]} <= {"disk", "host", "vram"}, every=0.5)
    (folder,) = (tmp_path / "replicas" / "shared-checkpoints").iterdir()
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(manifest.files)

    object_store.down = True
    for pid in engine_actors():
        os.kill(pid, signal.SIGKILL)
    until(lambda: all(ready_engines(one) == 0 for one in both[0]), every=0.5)
    until(lambda: all(ready_engines(one) == 2 for one in both[0]), seconds=300, every=0.5)
    assert painted(second, "house/demo") == golden, "it lies at the node, whoever it was fetched by"
