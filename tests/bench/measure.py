"""One measurement: a load on one proxy, with what it cost the proxy's processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from tests.bench.cases import Case, Load
from tests.bench.h2load import H2loadLoad, run_h2load
from tests.bench.handshake import HandshakeLoad, run_handshakes
from tests.bench.idle import IdleLoad, run_idle
from tests.bench.outcome import Outcome, Sample
from tests.bench.proxies.hotswap import backend_command
from tests.bench.proxies.peer import Peer
from tests.bench.rollout import RolloutLoad, run_rollouts
from tests.bench.transfer import DownloadLoad, UploadLoad, check_download, run_transfer
from tests.bench.usage import read_usage
from tests.bench.websocket import EchoLoad, run_echo
from tests.bench.wrk import WrkLoad, run_wrk

DIRECT = "direct"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long things take.

    Attributes:
        seconds: of each load.
        warm_up: seconds of the same load before it, not counted, where the proxy has not had that load yet.
    """

    seconds: float
    warm_up: float


def measure_peer(case: Case, peer: Peer, *, round_number: int, pace: Pace, files: Path) -> Sample:
    """Warm up, load, and read what the proxy used for it.

    Raises:
        WrkFailed: see ``run_wrk``; likewise ``H2loadFailed``, ``TransferBroken``, ``EchoBroken``, and OSError of
            other clients.
    """
    tls = isinstance(case.load, HandshakeLoad | H2loadLoad) or (isinstance(case.load, WrkLoad) and case.load.tls)
    port = peer.setup.tls_port if tls else peer.setup.plain_port
    if isinstance(case.load, DownloadLoad):
        check_download(case.load, port=port, files=files)
    if (round_number == 0 or case.fresh) and not isinstance(case.load, IdleLoad | RolloutLoad):
        _run(case.load, peer=peer, port=port, seconds=pace.warm_up, files=files)
    before = read_usage(peer.running.pid)
    outcome = _run(case.load, peer=peer, port=port, seconds=pace.seconds, files=files)
    after = read_usage(peer.running.pid)
    return Sample(
        case=case.name,
        proxy=peer.name.value,
        round=round_number,
        outcome=outcome,
        processor_seconds=(
            after.processor_seconds - before.processor_seconds
            if outcome.processor_seconds is None
            else outcome.processor_seconds
        ),
        memory_bytes=after.memory_bytes,
    )


def measure_direct(case: Case, *, port: int, round_number: int, pace: Pace) -> Sample:
    """Load the origin itself; no proxy, so nothing is spent on one."""
    assert isinstance(case.load, WrkLoad)
    if round_number == 0:
        run_wrk(case.load, port=port, seconds=pace.warm_up)
    outcome = run_wrk(case.load, port=port, seconds=pace.seconds)
    return Sample(
        case=case.name,
        proxy=DIRECT,
        round=round_number,
        outcome=outcome,
        processor_seconds=0.0,
        memory_bytes=0,
    )


def _run(load: Load, *, peer: Peer, port: int, seconds: float, files: Path) -> Outcome:
    match load:
        case WrkLoad():
            return run_wrk(load, port=port, seconds=seconds)
        case H2loadLoad():
            return run_h2load(load, port=port, seconds=seconds)
        case DownloadLoad() | UploadLoad():
            return run_transfer(load, port=port, seconds=seconds, files=files)
        case EchoLoad():
            return run_echo(load, port=port, seconds=seconds)
        case HandshakeLoad():
            return run_handshakes(load, port=port, seconds=seconds)
        case IdleLoad():
            pid = peer.running.pid
            return run_idle(load, port=port, seconds=seconds, read_usage=lambda: read_usage(pid))
        case RolloutLoad():
            backend = backend_command(peer.setup, "--uds", "{directory}/socket")
            return run_rollouts(load, port=port, admin_port=peer.setup.admin_port, seconds=seconds, backend=backend)
        case unreachable:
            assert_never(unreachable)
