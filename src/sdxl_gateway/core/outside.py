"""What happens between this server and others, as listeners hear of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sdxl_gateway.core.trace import Trace


@dataclass(frozen=True, slots=True)
class PictureFetched:
    """A picture given by its address came, may not be fetched from there, or did not come."""

    outcome: Literal["fetched", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class CheckpointFetched:
    """A checkpoint was to come from the bucket that servers share, and did; or was not what was put there; or failed,
    and may come the next time. `manifest` is the sha256 of what says which files it has; `why` it was refused."""

    outcome: Literal["fetched", "refused", "failed"]
    seconds: float
    manifest: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class CheckpointsStored:
    """Where that engine is there lie now, of the bucket's checkpoints, those of these manifests."""

    engine_id: str
    manifests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WebhookTried:
    """One attempt to reach a receiver of webhooks, and what came of its delivery: "delivered", "retried" later,
    "failed" for good, or "disabled" as the receiver is gone. `trace` is the attempt's span."""

    outcome: str
    seconds: float
    trace: Trace | None = None
