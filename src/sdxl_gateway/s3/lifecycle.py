"""The lifecycle rules by which the object store itself deletes what no server is left to delete."""

from __future__ import annotations

import math
from typing import Any

from sdxl_gateway.config import Settings
from sdxl_gateway.core.days import DAY_SECONDS

SPARED_DAYS = 1
"""How much longer than a server keeps a thing: while there is a server, it deletes first."""
UNFINISHED_DAYS = 1


def lifecycle(settings: Settings) -> dict[str, Any]:
    """The rules for Amazon's PutBucketLifecycleConfiguration; what is kept without limit has no rule.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLifecycleConfiguration.html
    """
    below = f"{settings.s3.prefix}/" if settings.s3.prefix else ""
    rules = [_unfinished(below)]
    for folder, days in _days(settings).items():
        if days is not None:
            rules.append(_rule(folder, f"{below}{folder}/", {"Expiration": {"Days": math.ceil(days) + SPARED_DAYS}}))
    return {"Rules": rules}


def _days(settings: Settings) -> dict[str, float | None]:
    """How long the objects in each folder may be needed; None without limit."""
    keep, retention = settings.delivery.keep_seconds / DAY_SECONDS, settings.retention
    return {
        "images": min(keep, retention.results_days or keep),
        "files": retention.days("files"),
        "reviews": retention.days("reviews"),
        "results": settings.results.seconds / DAY_SECONDS,
    }


def _unfinished(below: str) -> dict[str, Any]:
    """A rule for parts of incomplete uploads and for noncurrent versions: deleted data must be gone."""
    return _rule(
        "unfinished",
        below,
        {
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UNFINISHED_DAYS},
            "NoncurrentVersionExpiration": {"NoncurrentDays": UNFINISHED_DAYS},
        },
    )


def _rule(name: str, prefix: str, does: dict[str, Any]) -> dict[str, Any]:
    return {"ID": f"sdxl-gateway-{name}", "Status": "Enabled", "Filter": {"Prefix": prefix}, **does}
