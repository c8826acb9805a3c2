"""The state of the proxy as JSON: what `GET /v1/status` answers, and the one line for the service manager."""

from __future__ import annotations

import os
from typing import Any

import trio

from hotswap.control.pools.static_pool import StaticPool
from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.control.pools.trouble import describe_trouble
from hotswap.control.process.parts import Parts
from hotswap.control.telemetry.events import utc_now, written_utc
from hotswap.control.telemetry.version import PROGRAM_VERSION
from hotswap.core.address import TcpAddress
from hotswap.core.certificate_facts import CertificateFacts
from hotswap.core.config import RouteTable
from hotswap.core.http.exchange_view import tell_exchanges
from hotswap.core.links import links_to
from hotswap.core.pool.backend import Backend
from hotswap.core.printable import bounded
from hotswap.core.process.phases import READY
from hotswap.core.rollout.rollout import Rollout
from hotswap.core.rollout.step_table import StepState


def describe(parts: Parts, *, takeover: str | None) -> dict[str, Any]:
    """Give the state now, ready for JSON, with that of the takeover that replaces this process while there is one."""
    return {
        "version": PROGRAM_VERSION,
        "pid": os.getpid(),
        "started": parts.started,
        "config": str(parts.config_path),
        "ready": is_ready(parts),
        "stopping": parts.life.stopping,
        "generation": parts.life.incarnation,
        "takeover": "probation" if takeover is None and parts.life.on_trial else takeover,
        "predecessors": parts.predecessor.depth,
        "pools": {name: _pool(parts, pool) for name, pool in parts.pools.items()},
        "listeners": {name: _listener(parts, name) for name in parts.config.listeners},
        "routes": [_route(route) for route in parts.config.routes],
        "certificates": [_certificate(name, facts) for name, facts in parts.listeners.certificate_facts()],
    }


def _route(route: RouteTable) -> dict[str, Any]:
    return {
        "hosts": list(route.hosts),
        "path": route.path,
        "pool": route.pool,
        "files": route.files,
        "redirect": route.redirect,
    }


def _listener(parts: Parts, name: str) -> dict[str, Any]:
    addresses = parts.listeners.bound(name)
    names = [one for listener, facts in parts.listeners.certificate_facts() if listener == name for one in facts.names]
    host = next((one for one in names if not one.startswith("*")), "")
    tcp = [address for address in addresses if isinstance(address, TcpAddress)]
    return {
        "bind": [str(address) for address in addresses],
        "urls": links_to(tcp, tls=parts.config.listeners[name].tls is not None, name=host, loopback=False),
        "connections": parts.tally.connections[name],
    }


def _certificate(listener: str, facts: CertificateFacts) -> dict[str, Any]:
    return {
        "listener": listener,
        "names": [*facts.names, *facts.addresses],
        "expires": written_utc(facts.expires),
        "file": facts.file,
    }


def is_ready(parts: Parts) -> bool:
    """Tell whether it has started and every pool has a backend that can be claimed."""
    return parts.life.phase in READY and not parts.pools.not_ready()


def _pool(parts: Parts, pool: SupervisedPool | StaticPool) -> dict[str, Any]:
    core = pool.core
    counts = parts.link.pool_counts(pool.name)
    compatibility = pool.release.compatibility if isinstance(pool, SupervisedPool) else None
    return {
        "size": core.size,
        "supervised": core.supervised,
        "generation": pool.generation,
        "locked": core.locked,
        "paused": core.paused,
        "answer": None if core.answer is None else core.answer.tell(),
        "outlook": counts.outlook.value,
        "compatibility": None if compatibility is None else str(compatibility),
        "held": counts.waiting,
        "spooled": counts.spooled,
        "directories": list(core.directories.asked),
        "slots": [_slot(parts, pool, slot) for slot in core.slot_numbers()],
        "rollout": pool.rollout_id if isinstance(pool, SupervisedPool) else None,
    }


def _slot(parts: Parts, pool: SupervisedPool | StaticPool, slot: int) -> dict[str, Any]:
    core = pool.core
    known = pool.slots.get(slot) if isinstance(pool, SupervisedPool) else None
    return {
        "slot": slot,
        "hopeful": core.expects(slot),
        "failed_starts": core.failed_starts(slot),
        **describe_trouble(core, slot, known),
        "drained": pool.is_drained(slot),
        "release": None if known is None else known.release.directory,
        "backends": [_backend(parts, pool, backend) for backend in core.backends if backend.slot == slot],
    }


def _backend(parts: Parts, pool: SupervisedPool | StaticPool, backend: Backend) -> dict[str, Any]:
    now = trio.current_time()
    member = None
    if isinstance(pool, SupervisedPool):
        member = next((member for member in pool.members if member.backend is backend), None)
    deadline = None if member is None else member.drain_deadline
    facts = parts.facts.of(backend.pid)
    in_flight = parts.link.in_flight(backend)
    return {
        "id": backend.id,
        "generation": backend.generation,
        "state": backend.state.value,
        "health": backend.health.value,
        "in_flight": in_flight,
        "served": parts.link.served(backend),
        "connections": parts.link.connections_to(backend),
        "pid": backend.pid,
        "address": str(backend.address),
        "since": utc_now(backend.since - now),
        "uptime": None if facts is None else round(facts.uptime, 1),
        "memory": None if facts is None else facts.memory,
        "release": None if member is None else member.release.directory,
        "status": "" if member is None else member.process.status,
        "drain_left": None if deadline is None else round(max(0.0, deadline - now), 3),
        "waiting_for": tell_exchanges(parts.drains.of(backend)) if in_flight else [],
    }


def _progress(rollout: Rollout) -> str:
    """Give in words how far a rollout is."""
    turns = rollout.report(trio.current_time()).slots
    replaced = sum(turn.state is StepState.DONE and not turn.rollback for turn in turns)
    words = f"rollout {rollout.id}: {replaced} of {rollout.size} replaced"
    if rollout.rolling_back:
        words += ", rolling back"
    return words if rollout.step is None else f"{words}, slot {rollout.step.slot} {rollout.step.state}"


def summarise(parts: Parts) -> str:
    """Give the state in one line, as `systemctl status` shows it."""
    if parts.life.stopping:
        return "stopping"
    told = []
    for name, pool in parts.pools.items():
        words = f"{name} {len(pool.core.ready_slots())}/{pool.core.size} ready"
        error = next(filter(None, map(pool.core.last_error, range(pool.core.size))), None)
        if error is not None:
            words += f" ({bounded(error.text, 100)})"
        if isinstance(pool, SupervisedPool) and pool.run is not None:
            words += f", {_progress(pool.run.rollout)}"
        elif isinstance(pool, SupervisedPool) and pool.rollout_id is not None:
            words += f", rollout {pool.rollout_id} is next"
        if pool.core.locked is not None:
            words += ", LOCKED"
        if pool.core.paused:
            words += ", paused" if pool.core.answer is None else f", paused: answered {pool.core.answer.status}"
        told.append(words)
    return "; ".join([*([] if parts.life.booted else ["booting"]), *told]) or "no pools"
