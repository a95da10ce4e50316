"""Replicas that fetch checkpoints from the bucket, all in this process: once for each node, beside what they paint."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from sdxl_gateway.backends.ray import backend as backend_module
from sdxl_gateway.backends.ray.backend import RayBackend
from sdxl_gateway.backends.ray.checkpoints import NO_BUCKET, Checkpoints, open_checkpoints
from sdxl_gateway.catalog.checkpoint_folder.scan import open_at
from sdxl_gateway.catalog.checkpoint_folder.stored import open_stored
from sdxl_gateway.config import DEMO_MODEL, S3, CheckpointFolder, Cluster, Engine, EngineProcess, Limits, Loras, Memory
from sdxl_gateway.core.errors import Cancelled, GatewayError, StillLoading, Unavailable
from sdxl_gateway.core.events import EngineEvent, EngineOpened, Failed, Finished, JobTakenBack
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.listeners import EngineListener, unheard
from sdxl_gateway.core.outside import CheckpointFetched, CheckpointsStored
from sdxl_gateway.ipc.messages import Submit
from sdxl_gateway.jobs.subscription import Subscription
from tests.kit.jobs import job
from tests.kit.model_folders import UNET_FILE
from tests.kit.replicas import FakeCluster, Replica, cluster_of, gateway_of
from tests.kit.serving import served_by

pytest.importorskip("obstore", reason="needs the extra: pip install 'sdxl-gateway[s3]'")
pytest.importorskip("moto", reason="needs the extra: pip install 'sdxl-gateway[dev]'")

from sdxl_gateway.s3 import bucket as asked
from sdxl_gateway.s3 import checkpoint_catalog, fetches
from sdxl_gateway.s3.bucket import Bucket
from sdxl_gateway.s3.checkpoint_registry import CHECKPOINTS, CheckpointRegistry
from sdxl_gateway.s3.fetches import LIES
from sdxl_gateway.s3.manifest import Part, files_of, manifest_of
from tests.kit.buckets import ObjectStore

# Building the application sets up the logs of the whole process, which other tests share.
pytestmark = pytest.mark.usefixtures("logs_as_they_were")
DEMO = manifest_of(open_at(DEMO_MODEL))
UNET_KEY = f"{CHECKPOINTS}/files/{Part.of(DEMO_MODEL / UNET_FILE).sha256}"
SAID = {"prompt": "a red circle", "size": "64x64", "steps": 2, "model": "house/demo"}


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "LOOK_SECONDS", 0.01)
    for module, name in ((fetches, "RETRY_SECONDS"), (checkpoint_catalog, "POLL_SECONDS")):
        monkeypatch.setattr(module, name, 0.02)
    monkeypatch.setattr(asked, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def section(object_store: ObjectStore) -> S3:
    return object_store.bucket()


def put(section: S3, name: str = "house/demo") -> str:
    """The manifest's sha256."""
    manifest = manifest_of(replace(open_at(DEMO_MODEL), name=name))
    return CheckpointRegistry(Bucket(section)).push(manifest, files_of(DEMO_MODEL, name))


def needing(*manifests: str, prompt: str = "", **said: Any) -> Job:
    return replace(job(prompt, **said), manifests=manifests)


def checkpoints_at(node: Path, section: S3) -> Checkpoints:
    """As a replica there has them."""
    config = EngineProcess(data_directory=node, engine=Engine(), memory=Memory(), checkpoints={}, loras=Loras())
    return open_checkpoints(section, config, unheard)


async def end(subscription: Subscription) -> Finished | GatewayError:
    """The job's, or why there is no picture."""
    async with asyncio.timeout(20):
        last = [event async for event in subscription][-1]
    assert isinstance(last, Finished | Failed)
    return last.error if isinstance(last, Failed) else last


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not what():  # noqa: ASYNC110 (whatever is waited for tells nobody)
            await asyncio.sleep(0.01)


def given(replica: Replica) -> int:
    """Jobs that its engine has been told of."""
    return sum(isinstance(command, Submit) for command in replica.engine.told)


def times_fetched(store: ObjectStore) -> float:
    """How often the demo model was, by the requests for its files."""
    files = {part.sha256: part.size_bytes for part in DEMO.files.values()}
    return sum(one.rpartition("/")[2] in files for one in store.asked) / sum(
        math.ceil(size / asked.PART_BYTES) for size in files.values()
    )


def shut(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Files of checkpoints do not come until what this gives is called."""
    opened, answer = Event(), store.answer

    def wait(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        if "/checkpoints/files/" in environ["PATH_INFO"]:
            assert opened.wait(20)
        return answer(environ, start)

    monkeypatch.setattr(store, "answer", wait)
    return opened.set


async def test_one_replica_fetches_it_once_and_is_given_what_needs_it(
    object_store: ObjectStore, section: S3, tmp_path: Path
) -> None:
    manifest, heard = put(section), list[EngineEvent]()
    object_store.asked.clear()
    async with (
        cluster_of(tmp_path, "one", "two", shared=section) as cluster,
        gateway_of(cluster, heard.append) as gateway,
    ):
        await until(lambda: sum(isinstance(event, EngineOpened) for event in heard) == 2)
        some = [await gateway.submit(needing(manifest)) for _ in range(3)]
        assert all([isinstance(await end(one), Finished) for one in some])
        (used,) = [name for name, replica in cluster.all.items() if given(replica)]
        (entry,) = open_stored(tmp_path / used, "house/demo")
        assert entry.digest == open_at(DEMO_MODEL).digest
        assert times_fetched(object_store) == 1
        assert isinstance(await end(await gateway.submit(needing(manifest))), Finished)
        assert [given(replica) for replica in cluster.all.values() if given(replica)] == [4], "it goes where it lies"
        assert [event.outcome for event in heard if isinstance(event, CheckpointFetched)] == ["fetched"]


async def test_what_waits_for_it_keeps_nobody_waiting(
    object_store: ObjectStore, section: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = put(section)
    come = shut(object_store, monkeypatch)
    async with cluster_of(tmp_path, "one", shared=section) as cluster, gateway_of(cluster) as gateway:
        waiting = [await gateway.submit(needing(manifest)) for _ in range(30)]
        assert isinstance(await end(await gateway.submit(job())), Finished)
        assert (given(cluster.all["one"]), gateway.running) == (1, 0)
        come()
        assert all([isinstance(await end(one), Finished) for one in waiting])


async def test_replicas_of_one_node_share_what_they_fetch(
    object_store: ObjectStore, section: S3, tmp_path: Path
) -> None:
    manifest = put(section)
    object_store.asked.clear()
    both = [checkpoints_at(tmp_path, section) for _ in range(2)]
    await asyncio.gather(*(one.hold([manifest]) for one in both))
    assert times_fetched(object_store) == 1
    assert [one.stored for one in both] == [(manifest,)] * 2


async def test_what_one_replica_holds_the_others_of_its_node_do_not_remove(section: S3, tmp_path: Path) -> None:
    first, other = put(section), put(section, "other")
    small = section.model_copy(update={"checkpoint_bytes": round(1.5 * DEMO.size_bytes)})
    one, two = (checkpoints_at(tmp_path, small) for _ in range(2))
    held = await one.hold([first])
    with pytest.raises(Unavailable, match="no room"):
        await two.hold([other])
    held.close()
    (await two.hold([other])).close()
    assert (one.stored, two.stored) == ((other,), (other,))


@pytest.mark.parametrize("how", ["down", "lies", "no bucket"])
async def test_why_it_does_not_come_is_told_and_the_rest_is_painted(
    object_store: ObjectStore, section: S3, tmp_path: Path, how: str
) -> None:
    manifest, told = put(section), {"down": asked.DOWN, "lies": LIES, "no bucket": NO_BUCKET}
    object_store.down = how == "down"
    if how == "lies":
        Bucket(section).put(UNET_KEY, bytes((DEMO_MODEL / UNET_FILE).stat().st_size))
    shared = S3() if how == "no bucket" else section
    async with cluster_of(tmp_path, "one", shared=shared) as cluster, gateway_of(cluster) as gateway:
        refused = await end(await gateway.submit(needing(manifest)))
        assert isinstance(refused, Unavailable)
        assert refused.message == told[how]
        assert isinstance(await end(await gateway.submit(job())), Finished)
        object_store.down = False
        again = await end(await gateway.submit(needing(manifest)))
        assert isinstance(again, Finished if how == "down" else Unavailable)


async def test_who_waits_too_long_for_it_is_told_so_and_the_next_has_it(
    object_store: ObjectStore, section: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, heard = put(section), list[EngineEvent]()
    come = shut(object_store, monkeypatch)
    async with (
        cluster_of(tmp_path, "one", shared=section, patience_seconds=0.01) as cluster,
        gateway_of(cluster, heard.append) as gateway,
    ):
        assert isinstance(await end(await gateway.submit(needing(manifest))), StillLoading)
        come()
        await until(lambda: CheckpointsStored("0", (manifest,)) in heard)
        assert isinstance(await end(await gateway.submit(needing(manifest))), Finished)


async def test_one_that_waits_may_be_cancelled_and_is_painted_elsewhere_where_its_replica_dies(
    object_store: ObjectStore, section: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, heard = put(section), list[EngineEvent]()
    come = shut(object_store, monkeypatch)
    async with (
        cluster_of(tmp_path, "one", shared=section) as cluster,
        gateway_of(cluster, heard.append) as gateway,
    ):
        gone = needing(manifest)
        subscription = await gateway.submit(gone)
        await until(lambda: times_fetched(object_store) > 0)
        gateway.cancel(gone.id)
        assert isinstance(await end(subscription), Cancelled)
        waiting = await gateway.submit(needing(manifest))
        assert isinstance(await end(await gateway.submit(job())), Finished)
        cluster.all["one"].killed.set()
        await cluster.add("two")
        come()
        assert isinstance(await end(waiting), Finished)
        assert given(cluster.all["two"]) == 1
        assert [event.reason for event in heard if isinstance(event, JobTakenBack)] == ["lost"]


async def test_an_engine_begins_once_its_first_checkpoint_is_there(
    object_store: ObjectStore, section: S3, tmp_path: Path
) -> None:
    put(section)
    object_store.down, heard = True, list[EngineEvent]()
    object_store.asked.clear()
    async with cluster_of(tmp_path, shared=section) as cluster, gateway_of(cluster, heard.append) as gateway:
        await cluster.add("one", first="house/demo")
        await cluster.add("two", first="nobody's")
        await until(lambda: len(object_store.asked) > 3)
        assert not gateway.ready
        object_store.down = False
        await until(lambda: sum(isinstance(event, EngineOpened) for event in heard) == 2)
        assert len(list(open_stored(tmp_path / "one", "house/demo"))) == 1


@asynccontextmanager
async def before(cluster: FakeCluster, **sections: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A whole gateway before it."""

    def backend(_: EngineProcess, limits: Limits, listener: EngineListener) -> RayBackend:
        return RayBackend(cluster, cluster.folder / "gateway", queue_size=limits.queue_size, listener=listener)

    folder = CheckpointFolder(directory=cluster.folder / "checkpoints")
    given = {"cluster": Cluster(kind="ray"), "checkpoint_folder": folder, **sections}
    async with served_by(backend, cluster.folder / "gateway", **given) as gateway:
        yield gateway


async def test_a_gateway_lists_it_and_has_it_painted_with(section: S3, tmp_path: Path) -> None:
    async with (
        cluster_of(tmp_path, "one", shared=section) as cluster,
        before(cluster, s3=section) as gateway,
        asyncio.timeout(30),
    ):

        async def shown() -> dict[str, str]:
            return {one["id"]: one["tier"] for one in (await gateway.get("/v1/checkpoints")).json()["data"]}

        manifest = await asyncio.to_thread(put, section)
        while await shown() != {"demo": "disk", "house/demo": "bucket"}:  # noqa: ASYNC110 - as a client would
            await asyncio.sleep(0.02)
        painted = await gateway.post("/v1/images/generations", json=SAID)
        assert painted.status_code == 200, painted.text
        assert checkpoints_at(tmp_path / "one", section).stored == (manifest,)
        assert await shown() == {"demo": "disk", "house/demo": "disk"}
        told = (await gateway.get("/metrics")).text
        assert 'sdxl_gateway_checkpoint_fetch_seconds_count{outcome="fetched"} 1.0' in told
        cluster.all["one"].killed.set()
        while await shown() != {"demo": "disk", "house/demo": "bucket"}:  # noqa: ASYNC110 - as a client would
            await asyncio.sleep(0.02)


async def test_what_a_replica_was_given_and_is_another_is_a_problem_at_the_gateway(section: S3, tmp_path: Path) -> None:
    put(section)
    data = bytearray((DEMO_MODEL / UNET_FILE).read_bytes())
    data[100_000] ^= 1  # no sample is taken there
    Bucket(section).put(UNET_KEY, bytes(data))
    async with (
        cluster_of(tmp_path, "one", shared=section) as cluster,
        before(cluster, s3=section) as gateway,
        asyncio.timeout(30),
    ):
        refused = await gateway.post("/v1/images/generations", json=SAID)
        assert (refused.status_code, refused.json()["error"]["message"]) == (503, LIES)
        while not (told := (await gateway.get("/v1/checkpoints")).json()["problems"]):  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.02)
        assert "its sha256 is another" in told[0]["message"]
