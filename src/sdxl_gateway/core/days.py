"""Takes unix seconds, gives the day they lie in, and when it ends; days are UTC's, wherever the server stands."""

from __future__ import annotations

from datetime import UTC, datetime

DAY_SECONDS = 86400.0


def day_of(unix_seconds: float) -> str:
    """As "2027-01-31"."""
    return datetime.fromtimestamp(unix_seconds, UTC).date().isoformat()


def first_of(days: int, unix_seconds: float) -> float:
    """When the first of so many days began, the last of which that moment lies in; unix seconds."""
    return max(unix_seconds // DAY_SECONDS - (days - 1), 0.0) * DAY_SECONDS


def seconds_left(unix_seconds: float) -> float:
    """Until the next day begins."""
    return DAY_SECONDS - unix_seconds % DAY_SECONDS
