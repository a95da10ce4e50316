"""What is written down of what happens, and what becomes of it where the disk takes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.config import Audit as Section
from sdxl_gateway.core import events
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import Cancelled, StorageFull
from sdxl_gateway.core.safety import Moderated
from sdxl_gateway.core.texts import Texts
from sdxl_gateway.telemetry.audit import writer
from sdxl_gateway.telemetry.audit.chain import Chain
from sdxl_gateway.telemetry.audit.export import lines_of
from sdxl_gateway.telemetry.audit.line import Record
from sdxl_gateway.telemetry.audit.records import Records
from sdxl_gateway.telemetry.audit.verify import verify
from sdxl_gateway.telemetry.audit.writer import Audit, AuditHealth
from sdxl_gateway.telemetry.metrics import Metrics
from tests.kit.jobs import recipe

ACTED = events.Acted(Caller("ops", key_id="key_1"), "art", "key.created", "key_2", "req_1", {"roles": "generate"})
ACCEPTED = events.JobAccepted("job", "art", recipe(), ("ink",), 0.0, key_id="key_3")


class FullChain(Chain):
    """Its disk takes nothing while it is `full`."""

    full = True

    def append(self, records: Sequence[Record], *, sync: bool) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().append(records, sync=sync)


def answered(status: int = 200, **more: Any) -> events.RequestAnswered:
    return events.RequestAnswered("images.edits", "demo", status, 0.1, 0, "req_1", "art", **more)


@contextmanager
def running(chain: Chain, *, keep: writer.KeepTexts | None = None, **section: Any) -> Iterator[Audit]:
    audit = Audit(chain, Section(**section), keep)
    audit.open()
    try:
        yield audit
    finally:
        audit.close()


def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


def told(chain: Chain) -> list[dict[str, Any]]:
    return list(lines_of(chain))


@pytest.mark.parametrize("sync", ["always", "second", "never"])
def test_what_is_written_down(tmp_path: Path, sync: str) -> None:
    chain = Chain(tmp_path)
    with running(chain, sync=sync) as audit:
        for event in (
            ACTED,
            ACCEPTED,
            events.Started("job", 0.1),
            events.Finished("job", 2.0),
            replace(ACCEPTED, job_id="other"),
            events.Failed("other", Cancelled("gone")),
            answered(acting=True, key_id="key_3"),
            answered(),
            answered(403, code="permission_denied"),
            answered(400, acting=True, code="invalid_value"),
            events.SettingsRead(in_force=False, at=1.0),
            events.EngineLost("0"),
            events.DecoderLost("late"),
            Moderated("art", "key_1", "job", "picture", "blocked", ("sexual",)),
            events.Measured("0", events.Held("temperature", 95.0, 0.5)),
            events.Measured("0", events.StepTaken(0.1, 1, 1.0)),
            events.Forgotten("prompts", 3),
            events.WorkFailed("keys"),
        ):
            audit.on_event(event)
    lines = told(chain)
    assert [(line["event"], line["target"], line["outcome"]) for line in lines] == [
        ("key.created", "key_2", "done"),
        ("job", "job", "done"),
        ("job", "other", "cancelled"),
        ("request", "images.edits", "done"),
        ("request", "images.edits", "permission_denied"),
        ("request", "images.edits", "invalid_value"),
        ("settings.read", "", "refused"),
        ("engine.lost", "0", "done"),
        ("decoder.lost", "", "late"),
        ("moderated", "job", "blocked"),
        ("engine.held", "0", "temperature"),
        ("retention.swept", "prompts", "done"),
    ]
    assert {name: lines[0][name] for name in ("tenant", "actor_tenant", "actor_key", "request", "more")} == {
        "tenant": "art",
        "actor_tenant": "ops",
        "actor_key": "key_1",
        "request": "req_1",
        "more": {"roles": "generate"},
    }
    assert (lines[1]["actor_key"], lines[1]["more"]["loras"], "texts" in lines[1]["more"]) == ("key_3", ["ink"], False)
    assert (verify(chain).lines, verify(chain).broken) == (12, None)


def test_prompts_stand_beside_the_log_and_only_where_that_is_set(tmp_path: Path) -> None:
    kept: list[Texts] = []
    chain = Chain(tmp_path)
    accepted = replace(ACCEPTED, recipe=replace(recipe(), prompt="a secret cat"))
    for prompts in (False, True):
        with running(chain, keep=kept.extend, prompts=prompts) as audit:
            audit.on_event(accepted)
            audit.on_event(events.Finished("job", 1.0))
    assert [(text.job_id, text.tenant, text.prompt) for text in kept] == [("job", "art", "a secret cat")]
    assert told(chain)[1]["more"]["texts"] == kept[0].digest
    assert "secret" not in chain.files()[0].read_text("utf-8")


def test_those_whom_nobody_knows_cost_a_line_a_second() -> None:
    now = [0.0]
    records = Records(clock=lambda: now[0])
    found = []
    for step in range(1000):
        now[0] = step / 400
        found.append(records.of(answered(401, code="invalid_api_key")))
    lines = [one[0] for one in found if one is not None]
    rest = records.unknown()
    assert rest is not None
    assert [line.more["times"] for line in (*lines, rest) if line.more] == [1, 400, 400, 199]


@pytest.mark.parametrize("when_full", ["continue", "refuse"])
def test_a_full_disk_is_never_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when_full: str, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer, "MAX_WAITING_LINES", 5)
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.01)
    chain = FullChain(tmp_path)
    with running(chain, when_full=when_full) as audit:
        audit.on_event(ACTED)
        until(lambda: audit.health.failing)
        for _ in range(20):
            audit.on_event(ACTED)
        if when_full == "refuse":
            with pytest.raises(StorageFull):
                audit.admit()
        else:
            audit.admit()
        health = audit.health
        assert (health.failing, health.lost >= 10) == (True, True)
        chain.full = False
        until(lambda: audit.health == AuditHealth(lost=health.lost))
        audit.admit()
    lines = told(chain)
    assert next(line["more"]["lost"] for line in lines if line["event"] == "audit.gap") == health.lost
    assert len(lines) == 1 + 21 - health.lost
    assert verify(chain).broken is None
    assert ["cannot be written" in caplog.messages[0], "written again" in caplog.messages[-1]] == [True, True]


def test_what_cannot_be_kept_beside_the_log_is_not_in_it_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.01)
    full = [True]
    kept: list[Texts] = []

    def keep(texts: Sequence[Texts]) -> None:
        if full[0]:
            raise StorageFull("The disk is full.")
        kept.extend(texts)

    chain = Chain(tmp_path)
    with running(chain, keep=keep, prompts=True) as audit:
        audit.on_event(ACCEPTED)
        audit.on_event(events.Finished("job", 1.0))
        until(lambda: audit.health.failing)
        assert told(chain) == []
        full[0] = False
    assert [line["event"] for line in told(chain)] == ["job"]
    assert len(kept) == 1


def test_the_metrics_tell(tmp_path: Path) -> None:
    metrics, audit = Metrics([], 0), Audit(FullChain(tmp_path), Section())
    metrics.audit.health = lambda: audit.health
    assert metrics.registry.get_sample_value("sdxl_gateway_audit_failing") == 0
    metrics.audit.health = lambda: AuditHealth(failing=True, waiting=3, lost=2)
    found = [metrics.registry.get_sample_value(f"sdxl_gateway_audit_{n}") for n in ("failing", "lines_waiting")]
    assert (found, metrics.registry.get_sample_value("sdxl_gateway_audit_lines_lost_total")) == ([1, 3], 2)
