"""Prometheus metrics of requests, jobs and engines; no label value can be chosen by a caller."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import get_args

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from sdxl_gateway import __version__
from sdxl_gateway.core import events, outside
from sdxl_gateway.core.errors import Cancelled
from sdxl_gateway.core.measurements import HeldReason
from sdxl_gateway.core.ports import Line
from sdxl_gateway.core.rollout import Arm
from sdxl_gateway.core.safety import JudgeEnded, Moderated
from sdxl_gateway.telemetry.audit_collector import AuditCollector
from sdxl_gateway.telemetry.gpu_collector import GpuCollector
from sdxl_gateway.telemetry.instruments import Instruments
from sdxl_gateway.telemetry.log_writer import DroppedLines

OTHER = "other"
HELD_REASONS: tuple[str, ...] = get_args(HeldReason)


@dataclass(slots=True)
class _Course:
    """What is known of a running job."""

    model: str
    started: bool = False


@dataclass(slots=True)
class _Names:
    """The label values so far; beyond `limit` of them all others are "other"."""

    limit: int
    seen: set[str] = field(default_factory=set)

    def label(self, name: str) -> str:
        if name in self.seen:
            return name
        if len(self.seen) >= self.limit:
            return OTHER
        self.seen.add(name)
        return name


class Metrics:
    """One set of metrics with a registry of its own, so that two apps in one process stay apart.

    `models` are the configured names; any other model is counted as "other", so that the number of series is
    decided by the operator. `found_models` may change, and so many of them as `model_label_limit` count by name too.
    `lora_label_limit` bounds the LoRA names likewise.
    """

    def __init__(
        self,
        models: Iterable[str],
        lora_label_limit: int,
        found_models: Container[str] = (),
        model_label_limit: int = 0,
    ) -> None:
        self.registry = CollectorRegistry()
        self.know_models(models)
        self.know_arms(())
        self._found_models = found_models
        self._found_names = _Names(model_label_limit)
        self._loras = _Names(lora_label_limit)
        self._courses: dict[str, _Course] = {}
        self._devices: dict[str, str] = {}
        self._now = Instruments.in_registry(self.registry)
        self._now.build_info.info({"version": __version__})
        self._settings_in_force(time.time())
        self.registry.register(GpuCollector())
        self.registry.register(DroppedLines())
        self.audit = AuditCollector()
        self.registry.register(self.audit)

    def know_models(self, models: Iterable[str]) -> None:
        """Set the configured names."""
        self._models = frozenset(models)

    def know_arms(self, arms: Iterable[Arm]) -> None:
        """As `know_models`, of rollouts' arms."""
        self._arms = frozenset(arms)

    def follow_line(self, line: Line, ready: Callable[[], bool]) -> None:
        """Read these at every scrape."""
        self._now.queue_depth.set_function(lambda: line.waiting)
        self._now.requests_in_flight.set_function(lambda: line.running)
        self._now.predicted_wait.set_function(lambda: line.wait_seconds)
        self._now.ready.set_function(lambda: float(ready()))

    def follow_results(self, held_bytes: Callable[[], float]) -> None:
        """As `follow_line`, of the cache of results."""
        self._now.result_cache_bytes.set_function(held_bytes)

    def exposition(self, accept: str | None) -> tuple[bytes, str]:
        """The metrics in the format the `Accept` header asks for, and that format's content type."""
        encode, content_type = choose_encoder(accept or "")
        return encode(self.registry), content_type

    def on_event(self, event: events.Event) -> None:
        """Count the event (a Listener)."""
        match event:
            case events.RequestAnswered():
                self._answered(event)
            case events.JobAccepted():
                self._accepted(event)
            case events.Measured():
                self._measured(event)
            case events.WorkFailed():
                self._now.background_failures.labels(event.work).inc()
            case events.SettingsRead():
                self._settings(event)
            case events.Forgotten():
                self._now.forgotten.labels(event.kind).inc(event.count)
            case events.Kept():
                self._now.kept[event.kind].labels(event.outcome).inc(event.count)
            case events.DecoderLost():
                self._now.decoders_lost.labels(event.reason).inc()
            case events.ArmEnded():
                self._arm(event)
            case events.MatteEnded():
                self._now.matte_duration.labels(event.outcome).observe(event.seconds)
            case events.ResultLooked():
                self._now.result_lookups.labels(event.outcome).inc()
            case outside.WebhookTried():
                self._now.webhook_duration.labels(event.outcome).observe(event.seconds)
            case outside.PictureFetched():
                self._now.picture_fetches.labels(event.outcome).inc()
            case outside.CheckpointFetched():
                self._now.checkpoint_fetch.labels(event.outcome).observe(event.seconds)
            case JudgeEnded():
                self._now.judge_duration.labels(event.judge, event.outcome).observe(event.seconds)
            case Moderated():
                self._now.moderated.labels(event.stage, event.action).inc()
            case events.EngineOpened():
                self._devices[event.engine_id] = event.device
                self._now.engine_ready.labels(event.engine_id, event.device).set(1)
            case events.EngineLost():
                self._engine_lost(event.engine_id)
            case events.JobAssigned():
                self._now.engine_jobs.labels(event.engine_id, event.warmth).inc()
            case events.JobTakenBack():
                self._now.engine_jobs_taken_back.labels(event.engine_id, event.reason).inc()
            case events.Acted() | outside.CheckpointsStored():
                pass
            case _:
                self._job(event)

    def _arm(self, event: events.ArmEnded) -> None:
        arm = event.arm if event.arm in self._arms else Arm(OTHER, OTHER)
        self._now.rollout_requests.labels(arm.rollout, arm.target, event.outcome).inc()
        self._now.rollout_images.labels(arm.rollout, arm.target).inc(event.pictures)
        if event.seconds is not None:
            self._now.rollout_duration.labels(arm.rollout, arm.target).observe(event.seconds)

    def _settings(self, event: events.SettingsRead) -> None:
        self._now.config_reloads.labels("success" if event.in_force else "failure").inc()
        if event.in_force:
            self._settings_in_force(event.at)
        else:
            self._now.config_last_reload_successful.set(0)

    def _settings_in_force(self, since: float) -> None:
        self._now.config_last_reload_successful.set(1)
        self._now.config_last_reload_success.set(since)

    def _answered(self, event: events.RequestAnswered) -> None:
        self._now.requests.labels(event.operation, self._model(event.model), str(event.status)).inc()
        self._now.request_duration.labels(event.operation).observe(event.seconds)
        self._now.response_size.labels(event.operation).observe(event.response_bytes)
        if event.retry_count > 0:
            self._now.client_retries.inc()
        self._now.ignored_fields.inc(len(event.ignored))
        if event.refused is not None:
            self._now.rejected.labels(event.refused).inc()

    def _accepted(self, event: events.JobAccepted) -> None:
        self._courses[event.job_id] = _Course(self._model(event.recipe.checkpoint))
        if event.recipe.image_prompt is not None:
            self._now.references.inc(len(event.recipe.image_prompt.weights))
        for lora in event.loras:
            self._now.lora_requests.labels(self._loras.label(lora)).inc()
        for control in dict.fromkeys(control.name for control in event.recipe.controls):
            self._now.control_requests.labels(control).inc()

    def _job(self, event: events.JobEvent) -> None:
        course = self._courses.setdefault(event.job_id, _Course(OTHER))
        match event:
            case events.Started():
                course.started = True
                self._now.queue_wait.observe(event.waited_seconds)
            case events.Painted():
                self._now.images_generated.labels(course.model).inc()
            case events.Finished():
                self._end(event.job_id, "finished")
                self._now.paint_duration.observe(event.paint_seconds)
            case events.Failed():
                self._failed(event, course)
            case events.Progressed() | events.Previewed() | events.StageEnded():
                pass

    def _failed(self, event: events.Failed, course: _Course) -> None:
        if isinstance(event.error, Cancelled):
            self._now.cancelled.labels("painting" if course.started else "waiting").inc()
        self._end(event.job_id, type(event.error).__name__)

    def _end(self, job_id: str, outcome: str) -> None:
        self._now.jobs.labels(outcome).inc()
        self._courses.pop(job_id, None)

    def _measured(self, event: events.Measured) -> None:
        match measurement := event.measurement:
            case events.StepTaken():
                self._step(measurement)
                self._now.engine_busy.labels(event.engine_id).inc(measurement.seconds)
            case events.BlendSwitched():
                self._now.engine_busy.labels(event.engine_id).inc(measurement.seconds)
                self._now.lora_switch.observe(measurement.seconds)
                self._now.lora_layers_rewritten.inc(measurement.layers)
            case events.StageTimed():
                self._now.engine_busy.labels(event.engine_id).inc(measurement.seconds)
                self._now.stage.labels(measurement.stage).observe(measurement.seconds)
            case events.ModelLoaded():
                self._now.model_load.labels(measurement.kind, measurement.source).observe(measurement.seconds)
            case events.AdapterLoaded():
                self._now.lora_loads.labels(measurement.source).inc()
                self._now.lora_load.labels(measurement.source).observe(measurement.seconds)
            case events.AdapterEvicted():
                self._now.lora_evictions.labels(measurement.tier).inc()
            case events.MemoryHeld():
                self._memory(event.engine_id, measurement)
            case events.Held():
                self._machine(event.engine_id, measurement)

    def _step(self, step: events.StepTaken) -> None:
        self._now.denoise_steps.inc(step.lanes)
        self._now.unet_megapixels.inc(step.work)
        self._now.step_duration.observe(step.seconds)
        self._now.batch_size.observe(step.lanes)

    def _machine(self, engine_id: str, held: events.Held) -> None:
        for reason in HELD_REASONS:
            self._now.engine_held.labels(engine_id, reason).set(reason == held.reason)
        if held.reason is not None:
            self._now.engine_holds.labels(held.reason).inc()

    def _memory(self, engine_id: str, held: events.MemoryHeld) -> None:
        for tier, size_bytes in held.bytes_by_tier.items():
            self._now.memory_held.labels(engine_id, tier).set(size_bytes)
        for tier, digests in held.warm.items():
            self._now.lora_cache_entries.labels(engine_id, tier).set(len(digests))
        self._now.device_memory_used.labels(engine_id).set(held.device_used_bytes)

    def _engine_lost(self, engine_id: str) -> None:
        """The engine holds nothing until it reports again."""
        if engine_id in self._devices:
            self._now.engine_ready.labels(engine_id, self._devices[engine_id]).set(0)
        held = {"engine": engine_id}
        for gauge in (self._now.memory_held, self._now.lora_cache_entries, self._now.device_memory_used):
            gauge.remove_by_labels(held)

    def _model(self, name: str) -> str:
        if name in self._models:
            return name
        return self._found_names.label(name) if name in self._found_models else OTHER
