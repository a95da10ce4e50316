"""Events between this server and others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sdxl_gateway.core.trace import Trace


@dataclass(frozen=True, slots=True)
class PictureFetched:
    """A picture given by its address was fetched, or its address is not allowed, or fetching it failed."""

    outcome: Literal["fetched", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class CheckpointFetched:
    """A checkpoint was fetched from the shared bucket; or was refused, as its files are not those that were stored; or
    fetching it failed, and may succeed next time. `manifest` is the digest of its manifest; `why` it was refused."""

    outcome: Literal["fetched", "refused", "failed"]
    seconds: float
    manifest: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class CheckpointsStored:
    """An engine's machine now has the checkpoints of these manifests, of those in the bucket."""

    engine_id: str
    manifests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WebhookTried:
    """One attempt to deliver a webhook, and its outcome: "delivered", "retried" later, "failed" for good, or "disabled"
    as the receiver is gone. `trace` is the attempt's span."""

    outcome: str
    seconds: float
    trace: Trace | None = None
