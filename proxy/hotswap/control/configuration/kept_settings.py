"""What of a configuration a running process cannot change, and keeps until its next start."""

from __future__ import annotations

from hotswap.core.config import Configuration


def keep_settings(current: Configuration, wanted: Configuration) -> tuple[Configuration, dict[str, list[str]]]:
    """Take over a configuration but for what needs a start.

    Returns:
        What is in force from now on, and the keys that wait for the next start, by table.
    """
    process = current.proxy.model_copy(update={"shutdown_timeout": wanted.proxy.shutdown_timeout})
    later = {
        name: [key for key in type(asked).model_fields if getattr(asked, key) != getattr(kept, key)]
        for name, asked, kept in (("proxy", wanted.proxy, process), ("admin", wanted.admin, current.admin))
        if asked != kept
    }
    return wanted.model_copy(update={"proxy": process, "admin": current.admin}), later
