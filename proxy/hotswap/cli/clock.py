"""Moments and durations as people read them."""

from __future__ import annotations

from datetime import datetime
from typing import Any


def duration_words(seconds: float) -> str:
    """A duration as people read it: its two greatest units."""
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {whole % 60}s" if minutes else f"{whole}s"


def moment(value: Any) -> str:
    """An ISO 8601 timestamp without its fractions; the proxy's are in UTC."""
    return str(value).replace("T", " ").partition(".")[0].removesuffix("Z") if isinstance(value, str) else "-"


def clock_words(at: Any, now: datetime) -> str:
    """The time of day of an ISO 8601 moment, where `now` is; with its date when that is another day."""
    try:
        local = datetime.fromisoformat(str(at)).astimezone(now.tzinfo)
    except ValueError:
        return "-"
    return f"{local:%H:%M:%S}" if local.date() == now.date() else f"{local:%Y-%m-%d %H:%M:%S}"
