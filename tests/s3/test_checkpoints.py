"""A checkpoint in the bucket is known everywhere by its header, fetched once when it is asked for, and verified."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.catalog.checkpoint_folder.catalog import TWICE
from sdxl_gateway.catalog.checkpoint_folder.scan import open_at
from sdxl_gateway.catalog.checkpoint_folder.stored import open_stored
from sdxl_gateway.config import DEMO_MODEL, S3, CheckpointFolder, Settings
from sdxl_gateway.core.errors import StillLoading, Unavailable, WrongState
from sdxl_gateway.core.events import Event
from sdxl_gateway.core.outside import CheckpointFetched
from sdxl_gateway.core.recipe import NO_BLEND, Phase
from tests.kit.model_folders import UNET_FILE, change_json, copy_of_demo
from tests.kit.single_file_headers import FLUX, LORA, write_holes

pytest.importorskip("obstore", reason="needs the extra: pip install 'sdxl-gateway[s3]'")
pytest.importorskip("moto", reason="needs the extra: pip install 'sdxl-gateway[dev]'")

from sdxl_gateway.s3 import bucket as asked
from sdxl_gateway.s3.bucket import Bucket
from sdxl_gateway.s3.checkpoint_catalog import SharedCheckpointCatalog
from sdxl_gateway.s3.checkpoint_mirror import FOLDER as SHELLS
from sdxl_gateway.s3.checkpoint_registry import CHECKPOINTS, CheckpointRegistry
from sdxl_gateway.s3.fetches import Fetches
from sdxl_gateway.s3.manifest import BROKEN, Manifest, Part, files_of, manifest_of
from sdxl_gateway.s3.mirror import LIES, MISSING
from tests.kit.buckets import ObjectStore, Wsgi

DEMO_BYTES = sum(path.stat().st_size for path in DEMO_MODEL.rglob("*") if path.is_file())


def put(section: S3, path: Path, name: str = "house/demo") -> str:
    """The manifest's sha256."""
    manifest = manifest_of(replace(open_at(path), name=name))
    return CheckpointRegistry(Bucket(section)).push(manifest, files_of(path, name))


@dataclass
class Node:
    """A server's checkpoints, and its data directory."""

    folder: Path
    section: S3
    patience_seconds: float = 60.0
    told: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        folder = CheckpointFolder(directory=self.folder / "checkpoints", watch=False)
        settings = Settings(
            data_directory=self.folder / "data", checkpoint_folder=folder, s3=self.section, checkpoints={}
        )
        self.catalog = SharedCheckpointCatalog(CheckpointRegistry(Bucket(self.section)), settings, {})
        self.catalog.scan()
        self.fetches = Fetches(self.catalog.store, self.catalog.mirror, self.patience_seconds, self.told.append)

    async def hold(self, *phases: Phase) -> ExitStack:
        """As Fetches, of their checkpoints."""
        return await self.fetches.hold(self.catalog.manifests(phases))

    def phase(self, name: str = "house/demo") -> Phase:
        return Phase(name, self.catalog[name].digest, NO_BLEND)

    @property
    def whole(self) -> list[str]:
        """The digests of what an engine could open."""
        return [entry.digest for name in self.catalog for entry in open_stored(self.folder / "data", name)]

    @property
    def outcomes(self) -> list[str]:
        """Of the fetches."""
        return [event.outcome for event in self.told if isinstance(event, CheckpointFetched)]

    @property
    def problems(self) -> dict[str, str]:
        return {one.name: one.message for one in self.catalog.problems}


@pytest.fixture
def section(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> S3:
    monkeypatch.setattr(asked, "PAUSE_SECONDS", 0.0)
    return object_store.bucket(prefix="gw")


@pytest.fixture
def pushed(section: S3) -> str:
    return put(section, DEMO_MODEL)


@dataclass
class Breaks:
    """Answers `answer`'s first requests for files of checkpoints, then the store is down."""

    store: ObjectStore
    answer: Wsgi
    files: int

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if "/checkpoints/files/" in environ["PATH_INFO"]:
            self.files -= 1
            self.store.down = self.files == 0
        return self.answer(environ, start)


async def test_one_is_known_by_a_few_bytes_and_whole_when_it_is_asked_for(
    object_store: ObjectStore, section: S3, pushed: str, tmp_path: Path
) -> None:
    node, own = Node(tmp_path, section), open_at(DEMO_MODEL)
    known = node.catalog["house/demo"]
    assert (known.digest, known.shapes, known.native_area) == (own.digest, own.shapes, own.native_area)
    assert (node.whole, node.problems, node.catalog.is_here(known)) == ([], {}, False)
    with pytest.raises(WrongState, match="shared through the bucket"):
        await node.catalog.change_sidecar("house/demo", {"steps": 4})
    used = sum(path.stat().st_blocks * 512 for path in (tmp_path / "data").rglob("*"))
    assert used < DEMO_BYTES / 2, "a shell has holes"
    object_store.asked.clear()
    held = await asyncio.gather(*(node.hold(node.phase()) for _ in range(3)))
    assert (node.whole, node.catalog.is_here(known), node.outcomes) == ([own.digest], True, ["fetched"])
    files = {part.sha256 for part in manifest_of(own).files.values()}
    assert {one.rpartition("/")[2] for one in object_store.asked} == files, "each is asked for, and nothing else"
    before = len(object_store.asked)
    (await node.hold(node.phase())).close()
    assert (len(object_store.asked), node.outcomes) == (before, ["fetched"])
    for one in held:
        one.close()


async def test_of_another_family_it_is_refused_by_its_header(section: S3, tmp_path: Path) -> None:
    registry = CheckpointRegistry(Bucket(section))
    for name, shapes in (("flux", dict.fromkeys(FLUX, (9, 3))), ("lora", LORA)):
        path = write_holes(tmp_path / f"{name}.safetensors", shapes)
        manifest = Manifest(name=name, created=0, files={path.name: Part.of(path)})
        registry.push(manifest, {path.name: path})
    node = Node(tmp_path / "node", section)
    assert (list(node.catalog), node.whole) == ([], [])
    assert node.problems.keys() == {"flux", "lora"}
    assert "is not an SDXL checkpoint: this is a Flux model" in node.problems["flux"]
    assert all(str(tmp_path) not in told for told in node.problems.values())


async def test_what_is_replaced_or_removed_is_so_everywhere(section: S3, pushed: str, tmp_path: Path) -> None:
    nodes = [Node(tmp_path / name, section) for name in ("one", "two")]
    other = copy_of_demo(tmp_path / "other")
    change_json(other / "scheduler" / "scheduler_config.json", timestep_spacing="trailing")
    (other.with_name("other.toml")).write_text("steps = 7\n")
    first = nodes[0].phase()
    (await nodes[0].hold(first)).close()
    assert await asyncio.to_thread(put, section, other) != pushed
    for node in nodes:
        assert await node.catalog.look()
        assert (node.phase() != first, node.catalog["house/demo"].section.steps) == (True, 7)
        (await node.hold(node.phase())).close()
        assert node.whole == [node.phase().checkpoint_digest], "what was replaced makes room"
        assert not await node.catalog.look()
    CheckpointRegistry(Bucket(section)).withdraw("house/demo")
    for node in nodes:
        assert (await node.catalog.look(), list(node.catalog)) == (True, [])
        assert list((node.folder / "data" / SHELLS).iterdir()) == []


async def test_a_servers_own_goes_first_and_is_never_fetched(section: S3, pushed: str, tmp_path: Path) -> None:
    own = copy_of_demo(tmp_path / "checkpoints" / "house" / "demo")
    node = Node(tmp_path, section)
    assert (node.catalog["house/demo"].path, node.problems) == (own, {"house/demo": TWICE})
    (await node.hold(node.phase())).close()
    assert (node.outcomes, node.whole) == ([], [])


async def test_who_waits_too_long_is_told_and_the_fetch_goes_on(section: S3, pushed: str, tmp_path: Path) -> None:
    node = Node(tmp_path, section, patience_seconds=0.001)
    with pytest.raises(StillLoading):
        await node.hold(node.phase())
    async with asyncio.timeout(60):
        while not node.outcomes:  # noqa: ASYNC110 - nobody else waits for it
            await asyncio.sleep(0.02)
    (await node.hold(node.phase())).close()
    assert (node.whole, node.outcomes) == ([node.phase().checkpoint_digest], ["fetched"])


async def test_what_broke_off_goes_on_where_it_was(
    object_store: ObjectStore, section: S3, pushed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "PART_BYTES", 2**20)
    node = Node(tmp_path, section)
    with monkeypatch.context() as broken:
        broken.setattr(object_store, "answer", Breaks(object_store, object_store.answer, 15))
        with pytest.raises(Unavailable):
            await node.hold(node.phase())
    assert (node.whole, node.outcomes) == ([], ["failed"])
    object_store.begin()
    again = Node(tmp_path, section)
    object_store.asked.clear()
    (await again.hold(again.phase())).close()
    assert again.whole == [again.phase().checkpoint_digest]
    parts = sum(math.ceil(path.stat().st_size / 2**20) for path in DEMO_MODEL.rglob("*") if path.is_file())
    assert len(object_store.asked) < parts - 10


@pytest.mark.parametrize("how", ["other bytes", "no bytes"])
async def test_a_file_that_is_not_what_was_put_there_is_used_by_nobody(
    section: S3, pushed: str, tmp_path: Path, how: str
) -> None:
    node, bucket = Node(tmp_path, section), Bucket(section)
    key = f"{CHECKPOINTS}/files/{Part.of(DEMO_MODEL / UNET_FILE).sha256}"
    data = bytearray((DEMO_MODEL / UNET_FILE).read_bytes())
    data[100_000] ^= 1  # no sample is taken there
    bucket.delete(key)
    if how == "other bytes":
        bucket.put(key, bytes(data))
    with pytest.raises(Unavailable):
        await node.hold(node.phase())
    assert await node.catalog.look()
    assert (list(node.catalog), node.whole, node.outcomes) == ([], [], ["refused"])
    assert node.problems == {"house/demo": LIES if how == "other bytes" else MISSING}
    bucket.delete(key)
    assert await asyncio.to_thread(put, section, DEMO_MODEL) == pushed, "whoever puts it there again mends it"
    again = Node(tmp_path / "again", section)
    (await again.hold(again.phase())).close()
    assert again.whole == [again.phase().checkpoint_digest]


@pytest.mark.parametrize(
    "written",
    [
        b"no json",
        b"{}",
        b'{"name": "house/demo", "created": 1, "files": {"../../x.safetensors": {"sha256": "%s", "size_bytes": 1}}}',
        b'{"name": "house/demo", "created": 1, "files": {"house/demo/x.py": {"sha256": "%s", "size_bytes": 1}}}',
        b'{"name": "house/demo", "created": 1, "files": {"other/x.json": {"sha256": "%s", "size_bytes": 1}}}',
        b'{"name": "house/demo", "created": 1, "files": {"house/demo/x.json": {"sha256": "..", "size_bytes": 1}}}',
        b'{"name": "other", "created": 1, "files": {"other/x.json": {"sha256": "%s", "size_bytes": 1}}}',
    ],
)
async def test_a_manifest_that_nobody_wrote_leads_nowhere(section: S3, tmp_path: Path, written: bytes) -> None:
    registry = CheckpointRegistry(Bucket(section))
    registry.publish("house/demo", written.replace(b"%s", b"0" * 64))
    node = Node(tmp_path, section)
    assert (list(node.catalog), node.problems) == ([], {"house/demo": BROKEN})
    assert registry.sweep(1e12) == 0, "nobody knows which files it led to"


async def test_those_used_longest_ago_make_room_unless_they_are_in_use(section: S3, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        put(section, DEMO_MODEL, name)
    node = Node(tmp_path, section.model_copy(update={"checkpoint_bytes": int(2.5 * DEMO_BYTES)}))

    def here() -> list[str]:
        return [name for name in node.catalog if node.catalog.is_here(node.catalog[name])]

    a = await node.hold(node.phase("a"))
    (await node.hold(node.phase("b"))).close()
    (await node.hold(node.phase("c"))).close()
    assert here() == ["a", "c"]
    both = await node.hold(node.phase("a"), node.phase("c"))
    with pytest.raises(Unavailable, match="no room"):
        await node.hold(node.phase("b"))
    for one in (a, both):
        one.close()
    (await node.hold(node.phase("b"))).close()
    assert len(here()) == 2
    small = Node(tmp_path / "small", section.model_copy(update={"checkpoint_bytes": DEMO_BYTES - 1}))
    assert (list(small.catalog), "s3.checkpoint_bytes" in small.problems["a"]) == ([], True)


async def test_a_silent_bucket_leaves_what_was_known_and_here(
    object_store: ObjectStore, section: S3, pushed: str, tmp_path: Path
) -> None:
    (await (first := Node(tmp_path, section)).hold(first.phase())).close()
    object_store.down = True
    again = Node(tmp_path, section)
    (await again.hold(again.phase())).close()
    assert (await again.catalog.look(), list(again.catalog)) == (False, ["house/demo"])
    assert list(Node(tmp_path / "new", section).catalog) == []


async def test_equal_files_are_one_and_go_a_day_after_the_last_name(
    object_store: ObjectStore, section: S3, pushed: str
) -> None:
    registry = CheckpointRegistry(Bucket(section))
    count = len(list(registry.files()))
    put(section, DEMO_MODEL, "twin")
    assert len(list(registry.files())) == count + 1, "its manifest"
    registry.withdraw("twin")
    now = max(entry.changed for entry in registry.files())
    assert registry.sweep(now + 80_000) == 0
    assert registry.sweep(now + 90_000) == 1
    registry.withdraw("house/demo")
    assert registry.sweep(now + 90_000) == count
    assert [key for key in object_store.keys(section) if "files" in key] == []
