"""Days of UTC, wherever the server runs, by unix seconds."""

from __future__ import annotations

from datetime import UTC, datetime

DAY_SECONDS = 86400.0


def day_of(unix_seconds: float) -> str:
    """The day of that moment, as "2027-01-31"."""
    return datetime.fromtimestamp(unix_seconds, UTC).date().isoformat()


def first_of(days: int, unix_seconds: float) -> float:
    """When the first of so many days began (unix seconds), the last of which is the day of that moment."""
    return max(unix_seconds // DAY_SECONDS - (days - 1), 0.0) * DAY_SECONDS


def seconds_left(unix_seconds: float) -> float:
    """Until the next day begins."""
    return DAY_SECONDS - unix_seconds % DAY_SECONDS
