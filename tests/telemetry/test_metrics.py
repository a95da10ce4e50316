"""What the listeners count, that callers cannot add series, and that Prometheus' own tool finds nothing to say."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sdxl_gateway.core import events
from sdxl_gateway.core.errors import Busy, Cancelled, EngineFault
from sdxl_gateway.core.measurements import HeldReason
from sdxl_gateway.core.recipe import Control
from sdxl_gateway.core.rollout import Arm
from sdxl_gateway.core.safety import JudgeEnded, Moderated
from sdxl_gateway.telemetry import gpu_collector
from sdxl_gateway.telemetry.device import Gpu
from sdxl_gateway.telemetry.metrics import Metrics
from tests.kit.backends import FakeLine
from tests.kit.jobs import recipe

DOCS = Path(__file__).parents[2] / "docs" / "METRICS.md"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(["demo", "storybook"], lora_label_limit=2)


def _value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"sdxl_gateway_{name}", labels) or 0.0


def _text(metrics: Metrics) -> str:
    return metrics.exposition(None)[0].decode()


def _answered(
    operation: str = "generate", model: str = "demo", status: int = 200, seconds: float = 0.1, **more: Any
) -> events.RequestAnswered:
    fields: dict[str, Any] = {"retry_count": 0, "request_id": "req_1", "tenant": "a"} | more
    return events.RequestAnswered(operation, model, status, seconds, **fields)


def _accepted(job_id: str, model: str, loras: Sequence[str] = ()) -> events.JobAccepted:
    return events.JobAccepted(job_id, "a", replace(recipe(), checkpoint=model), tuple(loras), arrived=0.0)


def _following(*names: str) -> events.JobAccepted:
    controls = tuple(Control(name, "d" * 64, 1.0) for name in names)
    return replace(_accepted("c", "demo"), recipe=replace(recipe(), controls=controls))


def _fill(metrics: Metrics) -> None:
    """One of everything."""
    metrics.follow_line(FakeLine(waiting=3, running=4, wait_seconds=1.5), lambda: True)
    metrics.on_event(_answered("generate", "demo", 200, 1.5, retry_count=1, response_bytes=10_000))
    metrics.on_event(_answered(ignored=("a", "b")))
    metrics.on_event(_answered(refused="invalid_value"))
    metrics.on_event(_accepted("a", "demo", ["ink"]))
    metrics.on_event(_following("canny"))
    metrics.on_event(events.Started("a", 0.1))
    metrics.on_event(events.Finished("a", 2.0))
    metrics.on_event(events.Failed("b", Cancelled("gone")))
    metrics.on_event(events.WorkFailed("lora_folder"))
    metrics.on_event(events.SettingsRead(in_force=True, at=1.0))
    metrics.on_event(events.DecoderLost("late"))
    metrics.on_event(JudgeEnded("pictures", "found", 0.05))
    metrics.on_event(Moderated("a", "key_1", "a", "picture", "blocked", ("sexual",)))
    metrics.on_event(events.Forgotten("prompts", 3))
    metrics.on_event(events.ArmEnded(Arm("fresh", "demo"), "finished", 1, 0.5))
    for kind in get_args(events.KeptKind):
        metrics.on_event(events.Kept(kind, "accepted"))
    for measurement in (
        events.StepTaken(0.02, 2, 1.0),
        events.BlendSwitched(0.01, 722),
        events.StageTimed("decode", 0.1),
        events.ModelLoaded("checkpoint", "host", 0.4, 5000),
        events.AdapterLoaded("d" * 64, "disk", 0.2, 1000),
        events.AdapterEvicted("d" * 64, "vram", 1000),
        events.MemoryHeld({"vram": 5}, {"vram": ("d" * 64,)}, (), 7),
        events.Held("memory", 60.0, 0.99),
    ):
        metrics.on_event(events.Measured("0", measurement))


def test_a_request_is_counted_by_operation_model_and_status(metrics: Metrics) -> None:
    metrics.on_event(_answered("edit", "storybook", 400, 0.2))

    assert _value(metrics, "requests_total", operation="edit", model="storybook", status="400") == 1
    assert _value(metrics, "request_duration_seconds_sum", operation="edit") == pytest.approx(0.2)
    assert _value(metrics, "client_retries_total") == 0


def test_a_second_try_of_a_client_is_counted(metrics: Metrics) -> None:
    metrics.on_event(_answered("edit", "demo", 200, 0.2, retry_count=2))

    assert _value(metrics, "client_retries_total") == 1


def test_models_nobody_configured_are_one_series(metrics: Metrics) -> None:
    for i in range(100):
        metrics.on_event(_answered("generate", f"guess-{i}", 404, 0.1))

    assert _value(metrics, "requests_total", operation="generate", model="other", status="404") == 100
    assert "guess" not in _text(metrics)


def test_a_model_is_named_from_when_it_is_configured(metrics: Metrics) -> None:
    metrics.on_event(_answered("generate", "late"))
    metrics.know_models(["demo", "late"])
    metrics.on_event(_answered("generate", "late"))

    counted = {
        name: _value(metrics, "requests_total", operation="generate", model=name, status="200")
        for name in ("late", "other")
    }
    assert counted == {"late": 1, "other": 1}


def test_settings_read_again_are_counted_and_dated(metrics: Metrics) -> None:
    started = _value(metrics, "config_last_reload_success_timestamp_seconds")
    assert (_value(metrics, "config_last_reload_successful"), started > 0) == (1, True)
    metrics.on_event(events.SettingsRead(in_force=False, at=started + 1))
    assert _value(metrics, "config_last_reload_successful") == 0
    assert _value(metrics, "config_last_reload_success_timestamp_seconds") == started
    metrics.on_event(events.SettingsRead(in_force=True, at=started + 2))

    assert [_value(metrics, "config_reloads_total", outcome=one) for one in ("success", "failure")] == [1, 1]
    assert _value(metrics, "config_last_reload_successful") == 1
    assert _value(metrics, "config_last_reload_success_timestamp_seconds") == started + 2


def test_a_job_counts_once_for_each_control_it_follows(metrics: Metrics) -> None:
    metrics.on_event(_following("canny", "depth", "canny"))

    assert [_value(metrics, "control_requests_total", control=name) for name in ("canny", "depth")] == [1, 1]


def test_checkpoints_that_were_found_count_by_name_up_to_a_limit() -> None:
    found = {"a", "b"}
    metrics = Metrics(["demo"], 0, found, model_label_limit=2)
    for name in ("a", "nobody", "a", "b", "demo"):
        metrics.on_event(_answered("generate", name, 200, 0.1))
    found.add("c")
    metrics.on_event(_answered("generate", "c", 200, 0.1))

    counted = {
        model: _value(metrics, "requests_total", operation="generate", model=model, status="200")
        for model in ("demo", "a", "b", "other")
    }
    assert counted == {"demo": 1, "a": 2, "b": 1, "other": 2}


def test_loras_above_the_limit_are_one_series(metrics: Metrics) -> None:
    for lora in ("ink", "watercolor", "pastel", "ink", "gouache"):
        metrics.on_event(_accepted("j", "demo", [lora]))

    counted = {lora: _value(metrics, "lora_requests_total", lora=lora) for lora in ("ink", "watercolor", "other")}
    assert counted == {"ink": 2, "watercolor": 1, "other": 2}


def test_a_limit_of_zero_names_no_lora() -> None:
    metrics = Metrics(["demo"], lora_label_limit=0)
    metrics.on_event(_accepted("j", "demo", ["ink"]))

    assert "ink" not in _text(metrics)


def test_a_jobs_life_is_counted_once(metrics: Metrics) -> None:
    metrics.on_event(_accepted("a", "demo"))
    metrics.on_event(events.Started("a", 0.5))
    metrics.on_event(events.Progressed("a", 0, 1, 20))
    metrics.on_event(events.Finished("a", 3.0))

    assert _value(metrics, "jobs_total", outcome="finished") == 1
    assert _value(metrics, "queue_wait_seconds_count") == 1
    assert _value(metrics, "paint_duration_seconds_sum") == 3.0


def test_a_failure_is_counted_by_its_error(metrics: Metrics) -> None:
    metrics.on_event(events.Failed("a", EngineFault("broken")))
    metrics.on_event(events.Failed("b", Busy("full", retry_after_seconds=1)))

    assert _value(metrics, "jobs_total", outcome="EngineFault") == 1
    assert _value(metrics, "jobs_total", outcome="Busy") == 1


def test_a_refused_request_is_counted_by_its_code(metrics: Metrics) -> None:
    metrics.on_event(_answered(refused="invalid_json"))
    metrics.on_event(_answered(refused="invalid_json"))

    assert _value(metrics, "rejected_total", reason="invalid_json") == 2


def test_what_was_sent_is_measured(metrics: Metrics) -> None:
    metrics.on_event(_answered("images.generations", "demo", 200, 1.0, response_bytes=70_000))

    assert _value(metrics, "response_size_bytes_sum", operation="images.generations") == 70_000
    assert _value(metrics, "response_size_bytes_bucket", operation="images.generations", le="65536.0") == 0
    assert _value(metrics, "response_size_bytes_bucket", operation="images.generations", le="262144.0") == 1


def test_a_cancelled_job_tells_how_far_it_was(metrics: Metrics) -> None:
    metrics.on_event(events.Started("a", 0.5))
    metrics.on_event(events.Failed("a", Cancelled("gone")))
    metrics.on_event(events.Failed("b", Cancelled("gone")))

    assert _value(metrics, "cancelled_total", stage="painting") == 1
    assert _value(metrics, "cancelled_total", stage="waiting") == 1


def test_a_step_counts_every_picture_it_advanced(metrics: Metrics) -> None:
    metrics.on_event(events.Measured("0", events.StepTaken(seconds=0.03, lanes=3, work=2.0)))

    assert _value(metrics, "denoise_steps_total") == 3
    assert _value(metrics, "unet_megapixels_total") == 2.0
    assert _value(metrics, "batch_size_sum") == 3


def test_what_the_ledger_holds_is_shown_by_tier(metrics: Metrics) -> None:
    _fill(metrics)

    assert _value(metrics, "memory_held_bytes", engine="0", tier="vram") == 5
    assert _value(metrics, "lora_cache_entries", engine="0", tier="vram") == 1
    assert _value(metrics, "lora_loads_total", source="disk") == 1
    assert _value(metrics, "lora_layers_rewritten_total") == 722


def test_what_each_of_several_engines_holds_is_told_until_it_is_lost(metrics: Metrics) -> None:
    for engine_id, held in (
        ("0", events.MemoryHeld({"vram": 5, "host": 9}, {"vram": ("a", "b")}, (), 7)),
        ("1", events.MemoryHeld({"vram": 20}, {"vram": ("a",)}, (), 30)),
        ("0", events.MemoryHeld({"vram": 6, "host": 0}, {"vram": ("b",)}, (), 8)),
    ):
        metrics.on_event(events.Measured(engine_id, held))

    assert [_value(metrics, "memory_held_bytes", engine=one, tier="vram") for one in "01"] == [6, 20]
    assert _value(metrics, "memory_held_bytes", engine="0", tier="host") == 0
    assert [_value(metrics, "lora_cache_entries", engine=one, tier="vram") for one in "01"] == [1, 1]
    assert [_value(metrics, "device_memory_used_bytes", engine=one) for one in "01"] == [8, 30]

    metrics.on_event(events.EngineLost("1"))

    left = metrics.exposition(None)[0].decode()
    assert 'memory_held_bytes{engine="0",tier="vram"} 6.0' in left
    assert 'engine="1"' not in left


def test_which_engines_paint_on_what_and_how_warm_they_were(metrics: Metrics) -> None:
    for number, device in enumerate(("cuda:0", "cuda:1")):
        metrics.on_event(events.EngineOpened(str(number), device, "float16", "NVIDIA H200"))
    metrics.on_event(events.EngineLost("1"))
    metrics.on_event(events.JobAssigned("0", "blend"))
    metrics.on_event(events.Measured("0", events.StepTaken(0.5, 2, 1.0)))
    metrics.on_event(events.Measured("0", events.BlendSwitched(0.25, 722)))
    metrics.on_event(events.Measured("0", events.StageTimed("decode", 1.0)))

    ready = [_value(metrics, "engine_ready", engine=str(n), device=f"cuda:{n}") for n in range(2)]
    assert ready == [1, 0]
    assert _value(metrics, "engine_jobs_total", engine="0", warmth="blend") == 1
    assert _value(metrics, "engine_busy_seconds_total", engine="0") == 1.75


def test_gauges_are_read_at_each_scrape(metrics: Metrics) -> None:
    line = FakeLine(waiting=2)
    metrics.follow_line(line, lambda: line.waiting > 0)
    assert _value(metrics, "queue_depth") == 2

    line.waiting = 0

    assert (_value(metrics, "queue_depth"), _value(metrics, "ready")) == (0, 0)


def test_the_scraper_chooses_the_format(metrics: Metrics) -> None:
    plain, plain_type = metrics.exposition(None)
    modern, modern_type = metrics.exposition("application/openmetrics-text; version=1.0.0")

    assert plain_type.startswith("text/plain")
    assert modern_type.startswith("application/openmetrics-text")
    assert modern.endswith(b"# EOF\n")
    assert not plain.endswith(b"# EOF\n")


def test_two_apps_in_one_process_count_apart(metrics: Metrics) -> None:
    other = Metrics(["demo"], 2)
    metrics.on_event(_answered(ignored=tuple("abcde")))

    assert _value(other, "ignored_fields_total") == 0


def test_gpus_are_shown_when_the_driver_tells(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_collector, "read_gpus", lambda: (Gpu(0, "H200", 10, 100, 0.5, "", 71.0),))

    assert _value(metrics, "gpu_memory_used_bytes", gpu="0") == 10
    assert _value(metrics, "gpu_utilization_ratio", gpu="0") == 0.5
    assert _value(metrics, "gpu_temperature_celsius", gpu="0") == 71.0


def test_an_engine_that_is_held_is_told_by_its_reason(metrics: Metrics) -> None:
    reasons: tuple[HeldReason | None, ...] = ("temperature", "memory", None, "temperature")
    for reason in reasons:
        metrics.on_event(events.Measured("1", events.Held(reason, 95.0, 0.5)))
    held = {reason: _value(metrics, "engine_held", engine="1", reason=reason) for reason in ("temperature", "memory")}
    assert held == {"temperature": 1, "memory": 0}
    assert _value(metrics, "engine_holds_total", reason="temperature") == 2


def _names(metrics: Metrics) -> set[str]:
    return {family.name for family in metrics.registry.collect()}


def test_the_documented_metrics_are_the_ones_there_are(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_collector, "read_gpus", lambda: (Gpu(0, "H200", 10, 100, 0.5, "", 71.0),))
    written = set(re.findall(r"^\| `(sdxl_gateway_\w+?)(?:_total)?`", DOCS.read_text("utf-8"), re.MULTILINE))
    actual = {name.removesuffix("_total") for name in _names(metrics)}

    assert written == {"sdxl_gateway_build_info" if name == "sdxl_gateway_build" else name for name in actual}


def test_the_exposition_can_be_parsed_whole(metrics: Metrics) -> None:
    _fill(metrics)

    families = {family.name for family in text_string_to_metric_families(_text(metrics))}
    assert "sdxl_gateway_requests" in families
    assert not any(name.endswith("_created") for name in families)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Debian's package prometheus")
def test_promtool_finds_nothing_to_say(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_collector, "read_gpus", lambda: (Gpu(0, "H200", 10, 100, 0.5, "", 71.0),))
    _fill(metrics)

    told = subprocess.run(["promtool", "check", "metrics"], input=_text(metrics), capture_output=True, text=True)

    assert (told.returncode, told.stdout + told.stderr) == (0, "")
