"""The audit log's chain: what was changed, cut or removed is found; files roll, and the chain goes on."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sdxl_gateway.telemetry.audit.chain import Chain
from sdxl_gateway.telemetry.audit.export import Wanted, as_csv, as_json, lines_of
from sdxl_gateway.telemetry.audit.line import Record
from sdxl_gateway.telemetry.audit.verify import verify

DAY = 86400.0


def record(number: int = 0, at: float = 0.0, tenant: str = "art") -> Record:
    return Record(at, "key.created", tenant, "ops", "key_1", f"key_{number}", more={"place": number})


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    made = Chain(tmp_path / "audit")
    for batch in range(4):
        made.append([record(3 * batch + place) for place in range(3)], sync=False)
    return made


def _file(chain: Chain) -> Path:
    return chain.files()[-1]


def _edit(chain: Chain, change: Callable[[list[bytes]], list[bytes]]) -> None:
    lines = _file(chain).read_bytes().splitlines(keepends=True)
    _file(chain).write_bytes(b"".join(change(lines)))


def test_a_whole_chain(chain: Chain) -> None:
    found = verify(chain)
    assert (found.lines, found.broken) == (12, None)
    assert verify(chain, known=found.last.digest).broken is None
    assert _file(chain).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (lambda lines: [*lines[:4], lines[4].replace(b"key_4", b"key_5"), *lines[5:]], 5, "its hash is another"),
        (lambda lines: [*lines[:4], *lines[5:]], 5, "line 6 of the log, where line 5"),
        (lambda lines: [lines[0], lines[0], *lines[1:]], 2, "line 1 of the log, where line 2"),
        (lambda lines: lines[:-2], 10, "lines 11 to 12 are missing"),
        (lambda lines: [*lines[:-1], lines[-1][:40]], 12, "it is cut"),
        (lambda lines: [*lines[:2], b"{}\n", *lines[2:]], 3, "no line of an audit log"),
        (lambda lines: [], 0, "lines 1 to 12 are missing"),
    ],
    ids=["changed", "removed", "twice", "cut off", "cut", "put in", "emptied"],
)
def test_the_first_broken_line_is_named(
    chain: Chain, change: Callable[[list[bytes]], list[bytes]], line: int, says: str
) -> None:
    _edit(chain, change)
    broken = verify(chain).broken
    assert broken is not None
    assert says in broken.reason
    assert broken.line == line


def test_a_line_whose_hash_was_made_anew_does_not_fit_the_next(chain: Chain, tmp_path: Path) -> None:
    other = Chain(tmp_path / "other")
    other.append([record(99)] + [record(place) for place in range(1, 12)], sync=False)
    first = _file(other).read_bytes().splitlines(keepends=True)[0]
    _edit(chain, lambda lines: [first, *lines[1:]])
    broken = verify(chain).broken
    assert broken is not None
    assert (broken.line, "does not follow" in broken.reason) == (2, True)


def test_a_log_written_anew_lacks_a_hash_noted_elsewhere(chain: Chain) -> None:
    noted = verify(chain).last.digest
    for path in chain.directory.iterdir():
        path.unlink()
    chain.append([record(place + 1) for place in range(50)], sync=False)
    assert verify(chain).broken is None
    broken = verify(chain, known=noted).broken
    assert broken is not None
    assert "anew" in broken.reason


def test_a_gap_stays_to_be_seen_when_the_log_goes_on(chain: Chain) -> None:
    _edit(chain, lambda lines: lines[:-2])
    Chain(chain.directory).append([record(12)], sync=True)
    broken = verify(chain).broken
    assert broken is not None
    assert broken.reason == "it is line 13 of the log, where line 11 should follow"


def test_a_line_torn_by_a_kill_is_cut_off_and_the_chain_goes_on(chain: Chain) -> None:
    with _file(chain).open("ab") as file:
        file.write(b'{"seq":13,"at":')
    Chain(chain.directory).append([record(12)], sync=False)
    assert (verify(chain).lines, verify(chain).broken) == (13, None)


def test_lines_whose_head_was_not_written_any_more_count(chain: Chain) -> None:
    head = (chain.directory / "head.json").read_bytes()
    chain.append([record(12)], sync=False)
    (chain.directory / "head.json").write_bytes(head)
    Chain(chain.directory).append([record(13)], sync=False)
    assert (verify(chain).lines, verify(chain).broken) == (14, None)


def test_files_roll_by_size_and_day_and_the_chain_goes_on(tmp_path: Path) -> None:
    chain = Chain(tmp_path, max_file_bytes=2000)
    for number in range(20):
        chain.append([record(number)], sync=False)
    chain.append([record(20, DAY), record(21, DAY)], sync=False)
    names = [path.name for path in chain.files()]
    assert names[0] == "000000000001-1970-01-01.jsonl"
    assert names[-1] == "000000000021-1970-01-02.jsonl"
    assert len(names) > 3
    assert (verify(chain).lines, verify(chain).broken) == (22, None)
    chain.files()[1].unlink()
    assert verify(chain).broken is not None


def test_what_is_old_goes_by_whole_files_and_the_rest_stays_whole(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    for day in range(5):
        chain.append([record(day, day * DAY), record(day, day * DAY)], sync=False)
    assert chain.forget_before(2.5 * DAY) == 4
    assert (verify(chain).lines, verify(chain).last.seq, verify(chain).broken) == (6, 10, None)
    assert chain.forget_before(100 * DAY) == 4
    chain.append([record(9, 9 * DAY)], sync=False)
    assert (verify(chain).lines, verify(chain).broken) == (3, None)
    assert chain.forget_before(2.5 * DAY) == 0


def test_a_batch_is_there_whole_or_not_at_all(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 50:
            return write(descriptor, data[:50])
        raise OSError(28, "No space left on device")

    before = _file(chain).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: full(descriptor, bytes(data)[:60]))
        with pytest.raises(OSError, match="No space"):
            chain.append([record(12)], sync=True)
    assert _file(chain).read_bytes() == before
    chain.append([record(12)], sync=True)
    assert (verify(chain).lines, verify(chain).broken) == (13, None)


def _append_many(folder: Path, tenant: str) -> None:
    chain = Chain(folder, max_file_bytes=4000)
    for number in range(40):
        chain.append([record(number, tenant=tenant)], sync=False)


def test_two_processes_write_one_chain(tmp_path: Path) -> None:
    others = [
        multiprocessing.get_context("spawn").Process(target=_append_many, args=(tmp_path, name)) for name in ("a", "b")
    ]
    for other in others:
        other.start()
    for other in others:
        other.join(60)
    assert (verify(Chain(tmp_path)).lines, verify(Chain(tmp_path)).broken) == (80, None)


def test_lines_by_tenant_and_time(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    chain.append([record(n, n * 10.0, tenant="art" if n % 2 else "=cmd") for n in range(6)], sync=False)
    found = list(lines_of(chain, Wanted("art", since=10.0, until=50.0)))
    assert [(line["seq"], line["at"], line["target"]) for line in found] == [
        (2, "1970-01-01T00:00:10.000Z", "key_1"),
        (4, "1970-01-01T00:00:30.000Z", "key_3"),
    ]
    assert len(list(lines_of(chain, Wanted("ops")))) == 6
    assert [json.loads(line)["seq"] for line in as_json(lines_of(chain))] == [1, 2, 3, 4, 5, 6]
    table = list(as_csv(lines_of(chain)))
    assert table[0].startswith("seq,at,event,tenant,actor_tenant,actor_key,target,outcome,request,more,hash")
    assert (len(table), "'=cmd" in table[1]) == (7, True)
