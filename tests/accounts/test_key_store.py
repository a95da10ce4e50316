"""Keys: shown once, kept as digests, alive for as long as they are meant to be."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sdxl_gateway.accounts.authenticator import AnonymousInPublic, KnownKeys, refuse_anonymous
from sdxl_gateway.accounts.key_store import KeyStore
from sdxl_gateway.accounts.keys import KeyGrant
from sdxl_gateway.accounts.pepper import pepper_of
from sdxl_gateway.accounts.static_keys import StaticKeys
from sdxl_gateway.config import Auth, Server, Settings
from sdxl_gateway.core.caller import ANYBODY, Caller, Role
from sdxl_gateway.core.errors import InvalidRequest, NotFound, StorageFull, Unauthenticated
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.storage.database import FILE_NAME, opened
from tests.kit.disks import full_disk

GRANT = KeyGrant(
    "art", "poster machine", frozenset({Role.GENERATE, Role.METRICS}), ("demo",), ("water*",), Priority.LOW
)


@dataclass
class Bench:
    store: KeyStore
    now: float = 1_000_000.0

    def clock(self) -> float:
        return self.now


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with opened(tmp_path) as database:
        made = Bench(KeyStore(database, lambda: b"pepper"))
        made.store = KeyStore(database, lambda: b"pepper", made.clock)
        yield made


async def test_a_key_is_its_grant(bench: Bench) -> None:
    text, key = await bench.store.create(GRANT)
    found = bench.store.holder(text.encode())
    assert found == key
    assert key.caller == Caller(
        "art", frozenset({Role.GENERATE, Role.METRICS}), key.id, ("demo",), ("water*",), Priority.LOW
    )
    assert text.startswith(key.prefix)
    assert len(text) > len(key.prefix) + 40


def test_the_key_itself_is_nowhere_on_the_disk(bench: Bench, tmp_path: Path) -> None:
    text, key = asyncio.run(bench.store.create(GRANT))
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert key.id.encode() in written
    assert text.encode() not in written
    assert text[len(key.prefix) :].encode() not in written


async def test_every_other_key_is_wrong(bench: Bench) -> None:
    text, _ = await bench.store.create(GRANT)
    for wrong in (b"", text[:-1].encode(), text.upper().encode(), b"\xff\xfe", b"x" * 4096):
        assert bench.store.holder(wrong) is None


async def test_a_key_ends_with_its_time(bench: Bench) -> None:
    text, _ = await bench.store.create(KeyGrant("art", expires=bench.now + 60))
    bench.now += 59.9
    assert bench.store.holder(text.encode()) is not None
    bench.now += 0.1
    assert bench.store.holder(text.encode()) is None
    assert not bench.store.empty


async def test_a_rotated_key_lives_a_while_beside_the_new_one(bench: Bench) -> None:
    old, key = await bench.store.create(GRANT)
    new, successor = await bench.store.rotate(key.id, grace_seconds=3600)
    assert successor.grant == GRANT
    assert bench.store.find(key.id).successor == successor.id
    bench.now += 3599
    assert bench.store.holder(old.encode())
    assert bench.store.holder(new.encode())
    bench.now += 1
    assert bench.store.holder(old.encode()) is None
    assert bench.store.holder(new.encode())


async def test_rotating_lengthens_no_life(bench: Bench) -> None:
    old, key = await bench.store.create(KeyGrant("art", expires=bench.now + 10))
    await bench.store.rotate(key.id, grace_seconds=3600)
    bench.now += 11
    assert bench.store.holder(old.encode()) is None


async def test_what_is_dead_or_was_rotated_is_not_rotated_again(bench: Bench) -> None:
    _, rotated = await bench.store.create(GRANT)
    await bench.store.rotate(rotated.id)
    _, revoked = await bench.store.create(GRANT)
    await bench.store.revoke(revoked.id)
    for key in (rotated, revoked):
        with pytest.raises(InvalidRequest):
            await bench.store.rotate(key.id)
    for call in (bench.store.rotate, bench.store.revoke):
        with pytest.raises(NotFound):
            await call("key_none")


async def test_a_revoked_key_opens_nothing_and_stays_revoked(bench: Bench) -> None:
    text, key = await bench.store.create(GRANT)
    first = await bench.store.revoke(key.id)
    bench.now += 5
    assert (await bench.store.revoke(key.id)).revoked == first.revoked
    assert bench.store.holder(text.encode()) is None
    assert bench.store.empty


async def test_what_another_process_did_is_known_after_a_look(bench: Bench, tmp_path: Path) -> None:
    text, key = await bench.store.create(GRANT)
    with opened(tmp_path) as database:
        other = KeyStore(database, lambda: b"pepper", bench.clock)
        await other.revoke(key.id)
    assert bench.store.holder(text.encode()) is not None
    await bench.store.load()
    assert bench.store.holder(text.encode()) is None


async def test_who_comes_in(bench: Bench) -> None:
    text, key = await bench.store.create(GRANT)
    static = StaticKeys(Auth.model_validate({"api_keys": ["alpha"], "admin_keys": ["root"]}))
    known = KnownKeys(static, bench.store)
    assert await known.authenticate([text.encode()]) == key.caller
    assert (await known.authenticate([b"wrong", b"alpha"])).tenant.startswith("key-")
    assert (await known.authenticate([text.encode(), b"root"])).admin
    for offered in ([], [b"wrong"]):
        with pytest.raises(Unauthenticated):
            await known.authenticate(offered)


async def test_the_first_key_shuts_the_door(bench: Bench) -> None:
    known = KnownKeys(StaticKeys(Auth()), bench.store)
    assert await known.authenticate([]) == ANYBODY
    _, key = await bench.store.create(GRANT)
    with pytest.raises(Unauthenticated):
        await known.authenticate([])
    await bench.store.revoke(key.id)
    assert await known.authenticate([b"anything"]) == ANYBODY


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
async def test_nobody_is_let_in_from_other_machines_by_accident(bench: Bench, host: str) -> None:
    public = Settings(server=Server(host=host))
    known = KnownKeys(StaticKeys(public.auth), bench.store)
    with pytest.raises(AnonymousInPublic, match=r"auth\.allow_anonymous"):
        refuse_anonymous(public, known)
    refuse_anonymous(public.model_copy(update={"auth": Auth(allow_anonymous=True)}), known)
    refuse_anonymous(Settings(), known)
    await bench.store.create(GRANT)
    refuse_anonymous(public, known)


def test_the_pepper_is_made_once_and_for_the_servers_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first = pepper_of(None, folder)
    assert len(first) == 32
    assert pepper_of(None, folder) == first
    assert (folder / "pepper").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == ["pepper"]


def test_a_configured_pepper_is_taken_and_never_printed(tmp_path: Path) -> None:
    auth = Auth.model_validate({"pepper": "very-secret"})
    assert pepper_of(auth.pepper, tmp_path) == b"very-secret"
    assert "very-secret" not in repr(auth)
    assert not list(tmp_path.iterdir())


async def test_keys_of_another_pepper_are_not_known(bench: Bench, tmp_path: Path) -> None:
    text, _ = await bench.store.create(GRANT)
    with opened(tmp_path) as database:
        other = KeyStore(database, lambda: b"another", bench.clock)
        await other.load()
        assert other.holder(text.encode()) is None


def test_the_tables_are_what_they_say(bench: Bench, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE_NAME) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("INSERT INTO keys (id) VALUES ('x')")
    connection.close()


async def test_a_full_disk_makes_no_key_and_ends_none(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        store = KeyStore(database, lambda: b"pepper")
        key, made = await store.create(GRANT)
        async with full_disk(database):
            with pytest.raises(StorageFull):
                await store.create(KeyGrant("ops", models=("x" * 200,) * 200))
            assert store.holder(key.encode()) == made
        other, _ = await store.create(KeyGrant("ops"))
        assert store.holder(other.encode()) is not None
    assert len(store.list()) == 2
