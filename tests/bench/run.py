"""A whole run: origins up, proxies up, every case on every proxy in turn, round after round.

The proxies of a case are loaded one right after the other, so that a machine that changes its speed changes
it for all of them; which one begins moves on with each round.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from tests.bench.bars import judge
from tests.bench.cases import Case
from tests.bench.h2load import H2loadFailed
from tests.bench.idle import raise_descriptor_limit
from tests.bench.measure import Pace, measure_direct, measure_peer
from tests.bench.origin import Origin, open_origin
from tests.bench.outcome import Sample
from tests.bench.proxies.peer import Front, Peer, ProxyName, open_peer
from tests.bench.proxies.setup import Setup
from tests.bench.report import Report, describe_machine
from tests.bench.rollout import RolloutLoad
from tests.bench.running import NotServing, choose_ports
from tests.bench.tools import Tool, ToolMissing, find_tool, read_version
from tests.bench.transfer import TransferBroken
from tests.bench.usage import bind_tree
from tests.bench.websocket import EchoBroken
from tests.bench.wrk import WrkFailed

_BREAKS = (WrkFailed, H2loadFailed, TransferBroken, EchoBroken, NotServing, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run does.

    Attributes:
        cases: in this order.
        proxies: the ones to compare.
        rounds: how often everything is repeated.
        pace: how long each measurement takes.
        bind: give the proxy a processor of its own, and the others to everything else.
    """

    cases: Sequence[Case]
    proxies: Sequence[ProxyName]
    rounds: int
    pace: Pace
    bind: bool


@dataclass(slots=True)
class _Run:
    """What a run has gathered so far."""

    plan: Plan
    directory: Path
    tell: Callable[[str], None]
    certificate: Path
    key: Path
    proxy_processors: frozenset[int]
    other_processors: frozenset[int]
    samples: list[Sample] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    started: int = 0


def run_bench(plan: Plan, *, tell: Callable[[str], None]) -> Report:
    """Carry out ``plan``, telling of each step; a proxy that is missing or breaks is reported and left out.

    Raises:
        ToolMissing: nginx, the origin of all, or wrk is not installed.
    """
    find_tool(Tool.NGINX)
    find_tool(Tool.WRK)
    raise_descriptor_limit()
    all_processors = frozenset(os.sched_getaffinity(0))
    proxy_processors, other_processors = _share(all_processors) if plan.bind else (frozenset[int](),) * 2
    # A short path: the address of a unix socket has 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="hotswap-bench-"))
    try:
        certificate, key = _write_certificate(directory)
        run = _Run(
            plan=plan,
            directory=directory,
            tell=tell,
            certificate=certificate,
            key=key,
            proxy_processors=proxy_processors,
            other_processors=other_processors,
        )
        with_demo = any(case.demo for case in plan.cases)
        with (
            _bound(other_processors),
            open_origin(directory / "origin", processors=other_processors, demo=with_demo) as origin,
        ):
            _measure_all(run, origin)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    machine = describe_machine() | {
        "processors": str(len(all_processors)),
        "bound": str(plan.bind).lower(),
        "rounds": str(plan.rounds),
        "seconds": f"{plan.pace.seconds:g}",
    }
    return Report(
        machine=machine,
        versions=_versions(plan),
        samples=tuple(run.samples),
        verdicts=judge(run.samples, cases=[case.name for case in plan.cases]),
        absent=run.absent,
        failures=tuple(run.failures),
    )


def _measure_all(run: _Run, origin: Origin) -> None:
    with contextlib.ExitStack() as held:
        peers: dict[ProxyName, Peer] = {}
        if any(not case.fresh for case in run.plan.cases):
            for name in run.plan.proxies:
                if any(case.compares(name) for case in run.plan.cases):
                    peer = _try_open(run, name, origin, Front.NGINX, held)
                    if peer is not None:
                        peers[name] = peer
        for round_number in range(run.plan.rounds):
            for case in run.plan.cases:
                _measure_case(run, origin, peers, case, round_number)


def _measure_case(run: _Run, origin: Origin, peers: dict[ProxyName, Peer], case: Case, round_number: int) -> None:
    if case.direct:
        with _reporting(run, case, "direct"):
            run.samples.append(
                measure_direct(case, port=origin.direct_port, round_number=round_number, pace=run.plan.pace)
            )
    if case.demo and origin.demo_socket is None:
        run.absent["demo"] = "the demo app or uvicorn is not there"
        return
    names = [name for name in run.plan.proxies if case.compares(name)]
    first = round_number % len(names) if names else 0
    for name in names[first:] + names[:first]:
        with contextlib.ExitStack() as held:
            peer = _try_open(run, name, origin, _front_of(case), held) if case.fresh else peers.get(name)
            if peer is None:
                continue
            with _reporting(run, case, name), _together(run, case, peer):
                sample = measure_peer(case, peer, round_number=round_number, pace=run.plan.pace, files=origin.files)
                run.samples.append(sample)
                run.tell(_tell_sample(run, sample))


def _try_open(run: _Run, name: ProxyName, origin: Origin, front: Front, held: contextlib.ExitStack) -> Peer | None:
    if name in run.absent:
        return None
    run.started += 1
    plain_port, tls_port, admin_port = choose_ports(3)
    setup = Setup(
        directory=run.directory / f"{run.started}-{name}",
        plain_port=plain_port,
        tls_port=tls_port,
        admin_port=admin_port,
        origin=origin.demo_socket if front is Front.DEMO and origin.demo_socket else origin.socket,
        stream=origin.stream_socket,
        certificate=run.certificate,
        key=run.key,
        other_processors=run.other_processors,
    )
    try:
        return held.enter_context(open_peer(name, setup, front=front, processors=run.proxy_processors))
    except (ToolMissing, *_BREAKS) as error:
        run.tell(f"{name}: {error}")
        if front is Front.NGINX or isinstance(error, ToolMissing):
            run.absent[name] = str(error)
        else:
            run.failures.append(f"{name} in front of {front}: {error}")
        return None


@contextlib.contextmanager
def _reporting(run: _Run, case: Case, name: str) -> Iterator[None]:
    try:
        yield
    except _BREAKS as error:
        run.failures.append(f"{case.name} on {name}: {error!r}")
        run.tell(run.failures[-1])


@contextlib.contextmanager
def _together(run: _Run, case: Case, peer: Peer) -> Iterator[None]:
    if not (case.together and run.other_processors):
        yield
        return
    bind_tree(peer.running.pid, run.other_processors)
    try:
        yield
    finally:
        bind_tree(peer.running.pid, run.proxy_processors)


def _front_of(case: Case) -> Front:
    if isinstance(case.load, RolloutLoad):
        return Front.SUPERVISED
    return Front.DEMO if case.demo else Front.NGINX


def _share(processors: frozenset[int]) -> tuple[frozenset[int], frozenset[int]]:
    """Return a processor for the proxy, and those for the rest; both empty when there is only one."""
    if len(processors) < 2:
        return frozenset(), frozenset()
    first = min(processors)
    return frozenset({first}), processors - {first}


@contextlib.contextmanager
def _bound(processors: frozenset[int]) -> Iterator[None]:
    """Bind this process, and so the clients it starts, to ``processors``; empty means as it was."""
    before = os.sched_getaffinity(0)
    if processors:
        os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _write_certificate(directory: Path) -> tuple[Path, Path]:
    issued = trustme.CA().issue_cert("localhost", "127.0.0.1")
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(str(certificate), append=number > 0)
    issued.private_key_pem.write_to_path(str(key))
    return certificate, key


def _versions(plan: Plan) -> dict[str, str]:
    versions = {}
    for tool in Tool:
        if tool in {Tool.WRK, Tool.NGINX} or tool.value in plan.proxies:
            with contextlib.suppress(ToolMissing):
                versions[tool.value] = read_version(tool)
    return versions


def _tell_sample(run: _Run, sample: Sample) -> str:
    return (
        f"round {sample.round + 1}/{run.plan.rounds}  {sample.case:<14} {sample.proxy:<8}"
        f" {sample.rate:>10,.1f}/s {sample.processor_per_request * 1e6:>12,.1f} µs"
        f"  p99 {sample.outcome.p99 * 1e6:>9,.0f} µs  errors {sample.outcome.errors}"
    )
