"""What operators are told of engines, queue, warm blends and memory at one moment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sdxl_gateway.api.replies.status import told
from sdxl_gateway.core.errors import Cancelled
from sdxl_gateway.core.events import (
    EngineLost,
    EngineOpened,
    Failed,
    Held,
    JobAccepted,
    Measured,
    MemoryHeld,
    Started,
)
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.core.recipe import Blend, BlendPart
from sdxl_gateway.gateway.status import ServerStatus
from tests.kit.api import FakeGateway
from tests.kit.jobs import recipe
from tests.kit.serving import served

STATUS = "/v1/admin/status"
INK = BlendPart("d" * 64, 0.5, 0.5, "ink")


def accepted(job_id: str, tenant: str, priority: Priority = Priority.NORMAL) -> JobAccepted:
    return JobAccepted(job_id, tenant, replace(recipe(), blend=Blend((INK,))), ("ink",), 0.0, priority=priority)


def test_jobs_wait_by_class_and_tenant_until_an_engine_begins_them_or_they_end() -> None:
    status = ServerStatus()
    for event in (accepted("a", "art"), accepted("b", "art", Priority.LOW), accepted("c", "ads"), accepted("d", "ads")):
        status.on_event(event)
    status.on_event(Started("c", 0.1))
    status.on_event(Failed("d", Cancelled("gone")))
    assert status.waiting_by_class == {"high": 0, "normal": 1, "low": 1}
    assert status.waiting_by_tenant == {"art": 2}
    assert status.name_of(INK.digest) == "ink"
    assert status.name_of("e" * 64) is None


def test_each_engine_is_as_it_said_last_and_holds_nothing_once_it_is_lost() -> None:
    status = ServerStatus()
    held = MemoryHeld({"vram": 5}, {"vram": (INK.digest,)}, ((INK.digest, 0.5),), 7, {"vram": ("sdxl",)})
    for engine in ("1", "0"):
        status.on_event(EngineOpened(engine, f"cuda:{engine}", "float16", "H200"))
        status.on_event(Measured(engine, held))
    status.on_event(Measured("0", Held("temperature", 91.0, 0.5)))
    status.on_event(EngineLost("1"))
    first, second = status.engines
    assert (first.id, first.memory, first.held) == ("0", held, Held("temperature", 91.0, 0.5))
    assert (second.id, second.opened, second.memory) == ("1", None, MemoryHeld())
    status.on_event(Measured("0", Held(None, 80.0, 0.5)))
    assert status.engines[0].held is None


def test_what_an_engine_holds_may_be_said_before_it_is_open() -> None:
    status = ServerStatus()
    status.on_event(EngineLost("0"))
    status.on_event(Measured("0", MemoryHeld(device_by_kind={"checkpoint": 5})))
    status.on_event(EngineOpened("0", "cpu", "float32", ""))
    (engine,) = status.engines
    assert engine.opened is not None
    assert engine.memory.device_by_kind == {"checkpoint": 5}


async def test_an_operator_reads_it_and_nobody_else(tmp_path: Path) -> None:
    async with served(tmp_path, auth={"api_keys": ["alpha"], "admin_keys": ["root"]}) as client:
        painted = {"prompt": "a fox", "steps": 2, "size": "256x256"}
        await client.post("/v1/images/generations", json=painted, headers={"authorization": "Bearer alpha"})
        answer = await client.get(STATUS, headers={"authorization": "Bearer root"})
        refused = await client.get(STATUS, headers={"authorization": "Bearer alpha"})
    assert (answer.status_code, refused.status_code) == (200, 403)
    body = answer.json()
    (engine,) = body["engines"]
    assert (engine["id"], engine["state"], engine["device"]) == ("0", "ready", "fake")
    assert (body["ready"], body["degraded"]) == (True, [])
    assert body["queue"]["waiting_by_class"] == {"high": 0, "normal": 0, "low": 0}
    assert (body["queue"]["waiting"], body["queue"]["waiting_by_tenant"]) == (0, {})
    assert body["uptime_seconds"] >= 0
    assert body["queue"]["predicted_wait_seconds"] >= 0
    done = body["throughput"]
    assert (done["pictures"], done["steps"], done["recent_jobs"]) == (1, 2, 1)
    assert 0 <= done["p50_seconds"] == done["p95_seconds"]


def test_what_is_on_a_device_is_told_by_what_it_is() -> None:
    status = ServerStatus()
    kinds = {"checkpoint": 600, "pristine": 300, "factors": 50}
    for engine, budget in (("0", 1000), ("1", None), ("2", 900)):
        status.on_event(EngineOpened(engine, "cuda:0", "float16", "H200"))
        status.on_event(Measured(engine, MemoryHeld(device_by_kind=kinds, device_budget_bytes=budget)))
    engines = told(status, FakeGateway(), "1.0", ready=True, degraded=())["engines"]
    assert [one["device_memory"]["free_bytes"] for one in engines] == [50, None, 0]
    assert engines[0]["device_memory"] == {
        "by_kind": kinds,
        "held_bytes": 950,
        "budget_bytes": 1000,
        "free_bytes": 50,
    }


def test_loras_that_are_warm_have_the_names_they_were_asked_for_by() -> None:
    status = ServerStatus()
    status.on_event(accepted("a", "art"))
    assert told(status, FakeGateway(), "1.0", ready=True, degraded=())["lora_names"] == {}
    status.on_event(Measured("0", MemoryHeld(warm={"vram": (INK.digest,), "host": ("e" * 64,)})))
    assert told(status, FakeGateway(), "1.0", ready=True, degraded=())["lora_names"] == {INK.digest: "ink"}
