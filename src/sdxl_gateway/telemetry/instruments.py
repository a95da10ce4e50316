"""Declares every metric of the server: the only place for names, units and buckets."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics

NAMESPACE = "sdxl_gateway"
ARM = ("rollout", "arm")

REQUEST_SECONDS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600)
"""The buckets; the last is the timeout of the OpenAI SDKs."""
WAIT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)
STEP_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2, 5, 10)
SWITCH_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
LOAD_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300)
LANES = (1, 2, 3, 4, 6, 8, 12, 16)
RESPONSE_BYTES = tuple(float(2**power) for power in range(10, 27, 2))


@dataclass(frozen=True, slots=True)
class Instruments:
    """All metrics."""

    requests: Counter
    request_duration: Histogram
    response_size: Histogram
    client_retries: Counter
    ignored_fields: Counter
    rejected: Counter
    queue_depth: Gauge
    queue_wait: Histogram
    predicted_wait: Gauge
    requests_in_flight: Gauge
    ready: Gauge
    jobs: Counter
    paint_duration: Histogram
    cancelled: Counter
    images_generated: Counter
    denoise_steps: Counter
    unet_megapixels: Counter
    step_duration: Histogram
    batch_size: Histogram
    stage: Histogram
    model_load: Histogram
    references: Counter
    lora_requests: Counter
    control_requests: Counter
    lora_loads: Counter
    lora_load: Histogram
    lora_switch: Histogram
    lora_layers_rewritten: Counter
    lora_evictions: Counter
    lora_cache_entries: Gauge
    memory_held: Gauge
    device_memory_used: Gauge
    background_failures: Counter
    config_reloads: Counter
    config_last_reload_successful: Gauge
    config_last_reload_success: Gauge
    engine_held: Gauge
    engine_holds: Counter
    engine_ready: Gauge
    engine_jobs: Counter
    engine_jobs_taken_back: Counter
    engine_busy: Counter
    forgotten: Counter
    kept: dict[str, Counter]
    decoders_lost: Counter
    matte_duration: Histogram
    result_lookups: Counter
    result_cache_bytes: Gauge
    picture_fetches: Counter
    checkpoint_fetch: Histogram
    judge_duration: Histogram
    moderated: Counter
    webhook_duration: Histogram
    rollout_requests: Counter
    rollout_images: Counter
    rollout_duration: Histogram
    build_info: Info

    @classmethod
    def in_registry(cls, registry: CollectorRegistry) -> Instruments:
        """Declare all metrics in a registry, which is possible once."""
        _leave_out_created()
        make = _Maker(registry)
        return cls(
            requests=make.counter("requests", "Requests answered, by HTTP status.", ("operation", "model", "status")),
            request_duration=make.histogram(
                "request_duration_seconds", "From a request's first byte to its last.", REQUEST_SECONDS, ("operation",)
            ),
            response_size=make.histogram(
                "response_size_bytes", "Bytes of the answer's body, or of a stream.", RESPONSE_BYTES, ("operation",)
            ),
            client_retries=make.counter("client_retries", "Requests that were a client's second try or later."),
            ignored_fields=make.counter("ignored_fields", "Request fields that mean nothing to the server."),
            rejected=make.counter("rejected", "Requests to paint that were turned away, by error code.", ("reason",)),
            queue_depth=make.gauge("queue_depth", "Jobs waiting for an engine."),
            queue_wait=make.histogram("queue_wait_seconds", "From a job's arrival to its first canvas.", WAIT_SECONDS),
            predicted_wait=make.gauge(
                "predicted_wait_seconds", "What a job behind all others would wait, by what was measured."
            ),
            requests_in_flight=make.gauge("requests_in_flight", "Requests not yet answered."),
            ready=make.gauge("ready", "1 while an engine can paint."),
            jobs=make.counter("jobs", "Jobs ended: finished, or the error that ended them.", ("outcome",)),
            paint_duration=make.histogram(
                "paint_duration_seconds", "From a job's first canvas to its last picture.", REQUEST_SECONDS
            ),
            cancelled=make.counter("cancelled", "Jobs whose caller went away, by how far they were.", ("stage",)),
            images_generated=make.counter("images_generated", "Pictures painted.", ("model",)),
            denoise_steps=make.counter("denoise_steps", "Denoising steps taken, counted for each picture."),
            unet_megapixels=make.counter(
                "unet_megapixels", "Megapixels that the UNet computed: a guided step of a picture counts twice."
            ),
            step_duration=make.histogram("step_duration_seconds", "One step of one batch.", STEP_SECONDS),
            batch_size=make.histogram("batch_size", "Pictures that shared a step.", LANES),
            stage=make.histogram(
                "stage_duration_seconds", "Work around the steps: encode, prepare, decode.", STEP_SECONDS, ("stage",)
            ),
            model_load=make.histogram(
                "model_load_seconds", "Bringing one model to the device.", LOAD_SECONDS, ("kind", "source")
            ),
            references=make.counter("references", "Pictures that guided a painting."),
            lora_requests=make.counter("lora_requests", "Jobs that asked for a LoRA.", ("lora",)),
            control_requests=make.counter("control_requests", "Jobs that follow a ControlNet.", ("control",)),
            lora_loads=make.counter(
                "lora_loads", "LoRAs asked for, by where they were found; vram and host are hits.", ("source",)
            ),
            lora_load=make.histogram(
                "lora_load_seconds", "Bringing one LoRA to the device.", SWITCH_SECONDS, ("source",)
            ),
            lora_switch=make.histogram("lora_switch_seconds", "Writing another blend into weights.", SWITCH_SECONDS),
            lora_layers_rewritten=make.counter("lora_layers_rewritten", "Layers written by blend switches."),
            lora_evictions=make.counter("lora_evictions", "LoRAs that left a tier to make room.", ("tier",)),
            lora_cache_entries=make.gauge("lora_cache_entries", "LoRAs kept in a tier.", ("engine", "tier")),
            memory_held=make.gauge("memory_held_bytes", "What a ledger holds, by tier.", ("engine", "tier")),
            device_memory_used=make.gauge(
                "device_memory_used_bytes", "Device memory an engine has allocated.", ("engine",)
            ),
            background_failures=make.counter(
                "background_failures", "Work in the background that broke off and was begun again.", ("work",)
            ),
            config_reloads=make.counter(
                "config_reloads", "Times the settings were read again, by whether they could be used.", ("outcome",)
            ),
            config_last_reload_successful=make.gauge(
                "config_last_reload_successful", "1 unless the settings read last could not be used."
            ),
            config_last_reload_success=make.gauge(
                "config_last_reload_success_timestamp_seconds", "When settings that could be used were read last."
            ),
            engine_held=make.gauge(
                "engine_held", "1 while an engine takes no steps for its machine's sake.", ("engine", "reason")
            ),
            engine_holds=make.counter(
                "engine_holds", "Times an engine stopped taking steps for its machine's sake.", ("reason",)
            ),
            engine_ready=make.gauge(
                "engine_ready", "1 while the engine on that device can paint.", ("engine", "device")
            ),
            engine_jobs=make.counter(
                "engine_jobs", "Jobs an engine was given, by what of their model it had warm.", ("engine", "warmth")
            ),
            engine_jobs_taken_back=make.counter(
                "engine_jobs_taken_back", "Jobs an engine was given that went back into the line.", ("engine", "reason")
            ),
            engine_busy=make.counter(
                "engine_busy_seconds", "What an engine's steps, switches and stages took its device.", ("engine",)
            ),
            forgotten=make.counter("forgotten", "Things that were old enough to go, by their kind.", ("kind",)),
            kept={
                "job": make.counter("async_jobs", "Jobs kept on the disk: accepted, or over, by how.", ("outcome",)),
                "batch": make.counter("batches", "Batches: accepted, or over, by how.", ("outcome",)),
                "file": make.counter("files", "Files: stored, deleted by their owners, or expired.", ("outcome",)),
                "reply": make.counter(
                    "idempotent_replies", "Replies under an Idempotency-Key: kept, or replayed.", ("outcome",)
                ),
            },
            decoders_lost=make.counter(
                "decoders_lost", "Processes that were lost over an upload, by how: late or died.", ("reason",)
            ),
            result_lookups=make.counter(
                "result_lookups", "Requests whose pictures were looked for among those painted before.", ("outcome",)
            ),
            result_cache_bytes=make.gauge("result_cache_bytes", "Pictures held to be given again."),
            matte_duration=make.histogram(
                "matte_duration_seconds",
                "Telling one picture's subject from its background.",
                STEP_SECONDS,
                ("outcome",),
            ),
            picture_fetches=make.counter(
                "picture_fetches", "Pictures given by their address: fetched, refused or failed.", ("outcome",)
            ),
            checkpoint_fetch=make.histogram(
                "checkpoint_fetch_seconds",
                "Bringing one checkpoint from the bucket to the disk: fetched, refused or failed.",
                LOAD_SECONDS,
                ("outcome",),
            ),
            judge_duration=make.histogram(
                "judge_duration_seconds",
                "One judge's turn over one text, or a request's texts, or one picture.",
                STEP_SECONDS,
                ("judge", "outcome"),
            ),
            moderated=make.counter(
                "moderated", "What judges found, by where it was and what was done about it.", ("stage", "action")
            ),
            webhook_duration=make.histogram(
                "webhook_duration_seconds", "One attempt to reach a receiver of webhooks.", WAIT_SECONDS, ("outcome",)
            ),
            rollout_requests=make.counter(
                "rollout_requests", "Requests that asked for a rollout, by how they ended.", (*ARM, "outcome")
            ),
            rollout_images=make.counter("rollout_images", "Pictures painted by an arm of a rollout.", ARM),
            rollout_duration=make.histogram(
                "rollout_duration_seconds", "Until an arm's last picture of a request was there.", REQUEST_SECONDS, ARM
            ),
            build_info=Info("build", "The running version.", namespace=NAMESPACE, registry=registry),
        )


def _leave_out_created() -> None:
    """A `_created` series beside each counter and bucket would double the number of series."""
    # prometheus-client leaves it untyped.
    disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class _Maker:
    registry: CollectorRegistry

    def counter(self, name: str, words: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(name, words, labels, namespace=NAMESPACE, registry=self.registry)

    def gauge(self, name: str, words: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(name, words, labels, namespace=NAMESPACE, registry=self.registry)

    def histogram(self, name: str, words: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()) -> Histogram:
        return Histogram(name, words, labels, namespace=NAMESPACE, registry=self.registry, buckets=buckets)
