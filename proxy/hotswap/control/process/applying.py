"""Making a configuration the one in force."""

from __future__ import annotations

from collections.abc import Mapping

from hotswap.control.configuration.cautions import tell_cautions
from hotswap.control.pools.release import Release
from hotswap.control.process.listeners import Prepared
from hotswap.control.process.parts import Parts
from hotswap.core.config import Configuration
from hotswap.core.process.phases import PHASE_STARTS


def apply_configuration(
    parts: Parts, config: Configuration, prepared: Prepared, releases: Mapping[str, Release]
) -> tuple[str, ...]:
    """Make a configuration the one in force: new pools, routes, listeners, pools that are gone; says what changed.

    Nothing in here waits or fails, so no request meets half of it. The backends of its new supervised pools are started
    from the releases.
    """
    before = parts.config
    changes = [*parts.pools.apply(config.pools, releases, parts.surroundings, parts.nursery)]
    if config.routes != before.routes:
        changes.append("routes changed")
    parts.plane.set_routes(config.routes, prepared.contents)
    changes += parts.listeners.commit(prepared, parts.plane)
    changes += parts.pools.drop(config.pools, parts.nursery, static_drain_timeout=config.proxy.shutdown_timeout)
    # What a running process cannot change stays.
    kept, later = _keep_settings(before, config)
    parts.life.config = kept
    for table, keys in later.items():
        parts.log.warning("config.needs_restart", table=table, keys=keys)
    changes += [f"{table}.{key} takes effect at the next start" for table, keys in later.items() for key in keys]
    if parts.life.phase not in PHASE_STARTS:
        tell_cautions(parts.log, kept, before=before)
        parts.log.info("config.applied", changes=changes)
        parts.events.publish("config.applied", changes=changes)
    return tuple(changes)


def _keep_settings(current: Configuration, wanted: Configuration) -> tuple[Configuration, dict[str, list[str]]]:
    """Give what is in force from now on, and the keys that wait for the next start, by table."""
    process = current.proxy.model_copy(update={"shutdown_timeout": wanted.proxy.shutdown_timeout})
    later = {
        name: [key for key in type(asked).model_fields if getattr(asked, key) != getattr(kept, key)]
        for name, asked, kept in (("proxy", wanted.proxy, process), ("admin", wanted.admin, current.admin))
        if asked != kept
    }
    return wanted.model_copy(update={"proxy": process, "admin": current.admin}), later
