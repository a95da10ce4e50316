"""THE TABLE of the settings that a running server applies when it reloads them, and of those that need a restart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from sdxl_gateway.config.sections import Settings

LIVE = (
    "default_model",
    "server.public_base_url",
    "server.strict",
    "server.max_body_bytes",
    "server.cors_origins",
    "server.page",
    "auth.api_keys",
    "auth.admin_keys",
    "auth.allow_anonymous",
    "auth.protect_metrics",
    "auth.wrong_keys_per_minute",
    "tenant_defaults",
    "tenants",
    "checkpoints.*.steps",
    "checkpoints.*.guidance_scale",
    "checkpoints.*.guidance_end",
    "checkpoints.*.sampler",
    "checkpoints.*.schedule",
    "checkpoints.*.clip_skip",
    "checkpoints.*.prompt_syntax",
    "models",
    "prompts",
    "styles",
    "enhancer",
    "aliases",
    "loras.prompt_tags",
    "loras.max_per_request",
    "ip_adapter.weight",
    "edits",
    "limits.max_pixels",
    "limits.max_inpaint_pixels",
    "limits.max_upscaled_pixels",
    "limits.max_image_bytes",
    "limits.max_prompt_chars",
    "limits.max_prompt_chunks",
    "limits.max_steps",
    "limits.max_controls",
    "limits.deadline_seconds",
    "quality",
    "egress.image_urls",
    "egress.image_hosts",
    "egress.image_seconds",
    "retention",
    "files",
    "safety.policy",
    "safety.failing",
    "safety.deny_words",
    "safety.deny_patterns",
    "safety.uploads",
    "safety.threshold",
    "delivery.url_seconds",
    "delivery.keep_seconds",
    "delivery.max_stored_bytes",
    "delivery.embed_recipe",
    "moderation",
    "batches.max_lines",
    "batches.max_line_bytes",
    "batches.max_output_bytes",
    "batches.max_per_tenant",
    "batches.window_seconds",
    "results",
    "telemetry.log_level",
)
"""Keys and whole sections that apply to every request after a reload; `*` is a name that the operator chose."""

RESTART = (
    "batches.lines_at_once",
    "data_directory",
    "server.host",
    "server.port",
    "server.receive_timeout_seconds",
    "server.keep_alive_seconds",
    "server.max_connections",
    "server.max_connections_per_address",
    "server.shutdown_grace_seconds",
    "auth.pepper",
    "engine",
    "memory",
    "checkpoints.*.path",
    "checkpoints.*.native_pixels",
    "checkpoints.*.refiner",
    "checkpoints.*.vae",
    "embeddings",
    "upscalers",
    "checkpoints.*.config",
    "checkpoints.*.prediction_type",
    "checkpoints.*.zero_snr",
    "checkpoints.*.description",
    "checkpoint_folder",
    "loras.directory",
    "loras.watch",
    "loras.max_file_bytes",
    "loras.max_header_bytes",
    "loras.max_tensors",
    "loras.store_seconds",
    "loras.store_max_bytes",
    "ip_adapter.path",
    "ip_adapter.image_encoder",
    "matting",
    "idempotency",
    "webhooks",
    "egress.private_hosts",
    "safety.pictures",
    "safety.threads",
    "safety.at_once",
    "safety.seconds",
    "limits.max_input_pixels",
    "limits.decode_seconds",
    "controls",
    "limits.queue_size",
    "limits.tenant_queue_size",
    "guard",
    "audit",
    "encryption",
    "delivery.url_key",
    "s3",
    "jobs",
    "redis",
    "cluster",
    "telemetry.log_format",
    "telemetry.lora_label_limit",
    "telemetry.checkpoint_label_limit",
    "traces",
)
"""Settings by which sockets, processes and folders were opened, and which checkpoints there are."""

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """`settings` are to be in force now, `changed` are their changed keys, `waiting` the keys that need a restart."""

    settings: Settings
    changed: tuple[str, ...]
    waiting: tuple[str, ...]


def follows_reload(path: Path) -> bool:
    """Whether a reload applies a change of the setting at that path."""
    return any(_listed(path[:length], LIVE) for length in range(1, len(path) + 1))


def read_again(running: Settings, read: Settings) -> ReadAgain:
    """The settings of a server running with `running` after it reloads and finds `read`."""
    settings = Settings(**_taken(dict(running), dict(read), ()))
    return ReadAgain(settings, _differing(running, settings), _differing(settings, read))


def _taken(running: Mapping[str, Any], read: Mapping[str, Any], at: Path) -> dict[str, Any]:
    return {key: _value(value, read.get(key, value), (*at, key)) for key, value in running.items()}


def _value(running: Any, read: Any, path: Path) -> Any:
    """The value after a reload; a section that the tables do not list as a whole is decided key by key."""
    if _listed(path, LIVE):
        return read
    return running if _listed(path, RESTART) else _taken(dict(running), dict(read), path)


def _listed(path: Path, table: tuple[str, ...]) -> bool:
    return any(_fits(path, tuple(row.split("."))) for row in table)


def _fits(path: Path, row: Path) -> bool:
    return len(path) == len(row) and all(there in ("*", here) for here, there in zip(path, row, strict=True))


def _differing(one: Settings, other: Settings) -> tuple[str, ...]:
    """The keys whose values differ, or that only one of them has."""
    left, right = dict(leaves(one)), dict(leaves(other))
    return tuple(".".join(path) for path in {**left, **right} if left.get(path) != right.get(path))


def leaves(node: object, at: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Each setting with its path, sections flattened."""
    if isinstance(node, BaseModel | Mapping):
        for key, value in dict(node).items():
            yield from leaves(value, (*at, key))
    else:
        yield at, node
