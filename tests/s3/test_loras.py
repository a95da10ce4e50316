"""A LoRA put in at one server is at all of them, one removed is nowhere, and a file that lies is named and not used."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.config import S3, Auth, Loras, Settings
from sdxl_gateway.core.errors import InvalidRequest, ModelNotFound, Unavailable
from tests.kit.peft_files import GOOD, MODULES
from tests.kit.serving import served

pytest.importorskip("obstore", reason="needs the extra: pip install 'sdxl-gateway[s3]'")
pytest.importorskip("moto", reason="needs the extra: pip install 'sdxl-gateway[dev]'")

from sdxl_gateway.s3 import lora_catalog
from sdxl_gateway.s3.bucket import Bucket
from sdxl_gateway.s3.lora_catalog import SharedLoraCatalog
from sdxl_gateway.s3.lora_mirror import TAKEN
from sdxl_gateway.s3.mirror import LIES, MISSING
from sdxl_gateway.s3.registry import LORAS, Registry
from tests.kit.buckets import ObjectStore

CHECKPOINT = CheckpointEntry("demo", Path("demo"), "d" * 64, 0, MODULES, 4096, 4096)
TWIN = GOOD[:-100] + bytes(100)
ADMIN = Auth(admin_keys=(SecretStr("root"),))
DIGEST = hashlib.sha256(GOOD).hexdigest()


def file_key(digest: str) -> str:
    return f"{LORAS}/files/{digest}"


@dataclass
class Node:
    """A server's folder of LoRAs, and its data directory."""

    folder: Path
    section: S3

    def __post_init__(self) -> None:
        loras = Loras(directory=self.root, watch=False)
        settings = Settings(data_directory=self.folder / "data", loras=loras, s3=self.section, checkpoints={})
        self.now = 1e9
        self.catalog = SharedLoraCatalog(Bucket(self.section, lambda: self.now), settings, ())
        self.catalog.scan()

    @property
    def root(self) -> Path:
        return self.folder / "loras"

    async def put(self, name: str, data: bytes = GOOD, *, replace: bool = False) -> None:
        await self.catalog.add(name, data, checkpoint=CHECKPOINT, replace=replace)

    @property
    def there(self) -> dict[str, bytes]:
        """What can be asked for, and its file."""
        return {entry.name: entry.path.read_bytes() for entry in self.catalog.entries()}

    @property
    def problems(self) -> dict[str, str]:
        return {problem.name: problem.message for problem in self.catalog.problems}


@pytest.fixture
def section(object_store: ObjectStore) -> S3:
    return object_store.bucket(prefix="gw")


@pytest.fixture
def nodes(section: S3, tmp_path: Path) -> list[Node]:
    return [Node(tmp_path / name, section) for name in ("one", "two")]


async def test_what_is_put_in_at_one_is_at_the_other_until_it_is_removed(
    object_store: ObjectStore, section: S3, nodes: list[Node]
) -> None:
    one, two = nodes
    await one.put("org/my ink")
    await two.catalog.look()
    assert (two.there, two.problems) == ({"org/my ink": GOOD}, {})
    assert (await two.catalog.check_in("org/my ink", CHECKPOINT)).digest == DIGEST
    assert f"gw/{file_key(DIGEST)}" in object_store.keys(section)
    object_store.asked.clear()
    await two.catalog.look()
    assert object_store.asked == [f"GET /{section.bucket}/gw/loras/changed"]
    await two.catalog.remove("org/my ink")
    await one.catalog.look()
    for node in nodes:
        assert (node.there, list(node.root.rglob("*.safetensors"))) == ({}, [])
        with pytest.raises(ModelNotFound):
            node.catalog.find("org/my ink")


async def test_what_is_replaced_is_replaced_everywhere(nodes: list[Node]) -> None:
    one, two = nodes
    await one.put("ink")
    await two.catalog.look()
    await two.put("ink", TWIN, replace=True)
    await one.catalog.look()
    assert (one.there, two.there) == ({"ink": TWIN}, {"ink": TWIN})


async def test_a_file_that_lies_or_is_missing_is_named_and_not_used(section: S3, nodes: list[Node]) -> None:
    one, two = nodes
    bucket = Bucket(section)
    await one.put("ink")
    await one.put("wash", TWIN)
    bucket.put(file_key(DIGEST), TWIN)
    bucket.delete(file_key(hashlib.sha256(TWIN).hexdigest()))
    await two.catalog.look()
    assert (two.there, two.problems) == ({}, {"ink": LIES, "wash": MISSING})
    assert list((two.folder / "data" / "adapters").iterdir()) == []
    assert two.catalog.only(("wash",)).problems == tuple(one for one in two.catalog.problems if one.name == "wash")
    await one.catalog.remove("ink")
    await one.put("wash", TWIN, replace=True)
    await two.catalog.look()
    assert (two.there, two.problems) == ({"wash": TWIN}, {})


async def test_a_bucket_that_is_down_takes_nothing_and_lets_nothing_go(
    object_store: ObjectStore, nodes: list[Node]
) -> None:
    one, two = nodes
    await one.put("ink")
    object_store.down = True
    for node in nodes:
        with pytest.raises(Unavailable):
            await node.put("wash")
    one.now += 60
    with pytest.raises(Unavailable):
        await one.catalog.remove("ink")
    await two.catalog.look()
    object_store.down = False
    for node in nodes:
        node.now += 60
        await node.catalog.look()
        assert node.there == {"ink": GOOD}
        assert [path.name for path in node.root.rglob("*.safetensors")] == ["ink.safetensors"]


async def test_an_operators_own_file_is_never_touched_nor_shared(nodes: list[Node]) -> None:
    one, two = nodes
    two.root.mkdir(parents=True)
    (two.root / "ink.safetensors").write_bytes(TWIN)
    (two.root / "own.safetensors").write_bytes(TWIN)
    await two.catalog.refresh()
    await one.put("ink")
    await two.catalog.look()
    assert (two.there, two.problems) == ({"ink": TWIN, "own": TWIN}, {"ink": TAKEN})
    await one.catalog.remove("ink")
    await two.catalog.look()
    assert (two.there, two.problems) == ({"ink": TWIN, "own": TWIN}, {})
    await two.catalog.remove("own")
    assert one.there == {}


async def test_a_restart_remembers_which_are_shared(section: S3, nodes: list[Node]) -> None:
    one, two = nodes
    await one.put("ink")
    await two.catalog.look()
    await one.catalog.remove("ink")
    again = Node(two.folder, section)
    assert again.there == {"ink": GOOD}
    await again.catalog.look()
    assert again.there == {}


async def test_files_that_no_name_leads_to_go_after_a_while(
    object_store: ObjectStore, section: S3, nodes: list[Node]
) -> None:
    registry = Registry(Bucket(section), LORAS)
    await nodes[0].put("ink")
    await nodes[0].put("wash", TWIN)
    await nodes[0].catalog.remove("wash")
    assert registry.sweep(0.0) == 0
    assert registry.sweep(1e12) == 1
    assert registry.names() == {"ink": DIGEST}
    assert [key for key in object_store.keys(section) if "files" in key] == [f"gw/{file_key(DIGEST)}"]


async def test_two_servers_within_seconds(section: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lora_catalog.POLL_SECONDS < 5
    monkeypatch.setattr(lora_catalog, "POLL_SECONDS", 0.05)
    demo = Path(__file__).parents[2] / "src" / "sdxl_gateway" / "demo_loras" / "sunset.safetensors"
    async with (
        served(tmp_path / "one", s3=section, auth=ADMIN) as one,
        served(tmp_path / "two", s3=section, auth=ADMIN) as two,
        asyncio.timeout(60),
    ):
        for gateway in (one, two):
            gateway.headers.update({"authorization": "Bearer root", "content-type": "application/octet-stream"})
        answer = await one.post("/v1/loras?name=dusk", content=demo.read_bytes())
        assert answer.status_code == 201, answer.text
        while (told := await two.get("/v1/loras/dusk")).status_code != 200:  # noqa: ASYNC110 - as a client would
            await asyncio.sleep(0.05)
        assert told.json()["digest"] == answer.json()["digest"]
        assert told.json()["shared"] is answer.json()["shared"] is True
        assert (await two.delete("/v1/loras/dusk")).status_code == 200
        while (await one.get("/v1/loras/dusk")).status_code != 404:  # noqa: ASYNC110 - as a client would
            await asyncio.sleep(0.05)


async def test_a_side_car_is_changed_where_no_other_server_has_the_lora(nodes: list[Node]) -> None:
    one, _ = nodes
    await one.put("ink")
    (one.root / "own.safetensors").write_bytes(GOOD)
    await one.catalog.refresh()
    assert (await one.catalog.change_sidecar("own", {"weight": 0.5})).defaults.weight == 0.5
    with pytest.raises(InvalidRequest, match="shared with other servers"):
        await one.catalog.change_sidecar("ink", {"weight": 0.5})
    assert [one.catalog.is_shared(one.catalog.find(name)) for name in ("own", "ink")] == [False, True]
