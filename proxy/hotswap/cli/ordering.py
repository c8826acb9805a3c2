"""The verbs that send one command to the running proxy and print its result."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from urllib.parse import urlencode

import click

from hotswap.cli.answer_type import AnswerType, read_answer
from hotswap.cli.client import AdminClient, Json, ProblemAnswer, ProxyLost, path_of
from hotswap.cli.completing import complete_pool
from hotswap.cli.exits import CommandError, ExitCode
from hotswap.cli.speaking import speaks
from hotswap.cli.terminal import put_json, tell
from hotswap.control.configuration.path import absolute_path

POOL = click.argument("pool", shell_complete=complete_pool)
OPTIONAL_POOL = click.argument("pool", required=False, shell_complete=complete_pool)
SLOT = click.argument("slot", type=click.IntRange(min=0))

POLL = 0.1
"""Seconds between two looks at a proxy that stops."""

TAKEOVER_TIMEOUT = 900.0
"""Seconds after which a takeover has ended in one way or the other, however long its preparation and probation."""


def only_pool(client: AdminClient, *, supervised: bool = False) -> str:
    """Give the pool that is meant where none is named, because there is no other.

    Args:
        client: for the proxy.
        supervised: the verb is about pools of processes alone.

    Raises:
        CommandError: there are several, or none.
    """
    pools = client.get("/v1/status")["pools"]
    meant = [name for name, pool in pools.items() if pool["supervised"] or not supervised]
    if len(meant) != 1:
        there_is = f"there is {', '.join(meant)}" if meant else "there is none that it could be"
        raise CommandError(ExitCode.USAGE, f"a pool has to be named: {there_is}")
    return str(meant[0])


def _order(client: AdminClient, *parts: object) -> Json:
    return client.post(path_of("v1", *parts))


@click.command()
@POOL
@SLOT
@speaks
def drain(client: AdminClient, pool: str, slot: int) -> None:
    """Take SLOT of POOL out of rotation; its backend goes on living."""
    answer = _order(client, "pools", pool, "slots", slot, "drain")
    for backend in answer["slot"]["backends"]:
        tell(f"pool {pool} slot {slot}: {backend['state']}, {backend['in_flight']} in flight")


@click.command()
@POOL
@SLOT
@speaks
def readmit(client: AdminClient, pool: str, slot: int) -> None:
    """Bring a drained SLOT of POOL back into rotation."""
    answer = _order(client, "pools", pool, "slots", slot, "readmit")
    for backend in answer["slot"]["backends"]:
        tell(f"pool {pool} slot {slot}: {backend['state']}, {backend['health']}")


@click.command()
@OPTIONAL_POOL
@click.option(
    "--answer",
    type=AnswerType(),
    metavar="STATUS|PAGE",
    help="Answer at once instead: with a status from 400 to 599, or with 503 and a file of HTML for browsers.",
)
@speaks
def pause(client: AdminClient, pool: str | None, answer: int | Path | None) -> None:
    """Hold the requests for POOL until resume, or answer them.

    What is in flight goes on. With --answer what is held is answered too; calling it again changes the answer.
    """
    body = None if answer is None else read_answer(answer)
    pool = pool or only_pool(client)
    result = client.post(path_of("v1", "pools", pool, "pause"), body=body)
    told = result.get("answer")
    if answer is not None and told is None:
        detail = f"pool {pool}: requests are held; this proxy is of an older version, which cannot answer them"
        raise CommandError(ExitCode.FAILED, detail, f"to let them go on: hotswap resume {pool}")
    what = "held" if told is None else f"answered {told['status']}{' with a page' if told['page'] else ''}"
    tell(f"pool {pool}: requests are {what}" if result["changed"] else f"pool {pool}: was paused already")


@click.command()
@OPTIONAL_POOL
@speaks
def resume(client: AdminClient, pool: str | None) -> None:
    """Let the held requests for POOL go on."""
    pool = pool or only_pool(client)
    changed = _order(client, "pools", pool, "resume")["changed"]
    tell(f"pool {pool}: requests go on" if changed else f"pool {pool}: was not paused")


@click.command()
@OPTIONAL_POOL
@speaks
def unlock(client: AdminClient, pool: str | None) -> None:
    """End the lock that a failed rollout left on POOL, and fill its slots again."""
    pool = pool or only_pool(client, supervised=True)
    answer = _order(client, "pools", pool, "unlock")
    if not answer["changed"]:
        tell(f"pool {pool}: was not locked")
        return
    tell(f"pool {pool}: unlocked")
    # A proxy of an older version does not say them.
    refilled = [str(slot) for slot in answer.get("refilled", ())]
    if refilled:
        which = f"{'slots' if len(refilled) > 1 else 'slot'} {', '.join(refilled)}"
        tell(f"  started again, each from the release it had: {which}")
    if answer.get("serving") == []:
        tell(f"  nothing serves in it; a reload starts it from the new release: hotswap reload {pool}")


@click.command()
@OPTIONAL_POOL
@speaks
def abort(client: AdminClient, pool: str | None) -> None:
    """End the rollout of POOL as soon as that leaves no slot half-way."""
    pool = pool or only_pool(client, supervised=True)
    rollout = _order(client, "pools", pool, "abort")["rollout"]
    if rollout is None:
        tell(f"pool {pool}: no rollout is in progress")
    else:
        tell(f"pool {pool}: rollout {rollout} ends as soon as no slot is half-way")


@click.command()
@click.option("--executable", metavar="PATH", help="The new hotswap or its interpreter. Default: as it runs now.")
@click.option(
    "--to",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The configuration of the new process. Default: the one that runs.",
)
@click.option("--probation", default="10s", show_default=True, help="While everything returns if the new process dies.")
@click.option("--drain-timeout", default="300s", show_default=True, help="For the clients of the old process.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
@speaks
def takeover(
    client: AdminClient,
    executable: str | None,
    to: Path | None,
    probation: str,
    drain_timeout: str,
    as_json: bool,
) -> None:
    """Replace the proxy itself by a new process, without losing a connection, and wait for the result.

    The new process gets the listening sockets and the living backends; the old one lets its clients finish. If the
    new one dies within the probation, everything returns. With --to, it runs another configuration,
    by which it is found from then on.
    """
    query = {"probation": probation, "drain_timeout": drain_timeout}
    if executable is not None:
        # A name is looked up here, where the operator typed it.
        query["executable"] = os.path.abspath(shutil.which(executable) or executable)
    if to is not None:
        query["config"] = str(absolute_path(to))
    answer = client.post(f"{path_of('v1', 'takeover')}?{urlencode(query)}", timeout=TAKEOVER_TIMEOUT)
    if as_json:
        put_json(answer)
    else:
        tell(f"process {answer['pid']} (generation {answer['generation']}, version {answer['version']}) has taken over")


@click.command()
@speaks
def stop(client: AdminClient) -> None:
    """Stop the proxy gracefully, and wait until it is gone.

    One that stops already is only waited for; what ends it at once is a second SIGTERM.
    """
    before = client.get("/v1/status")
    if before["stopping"]:
        tell(f"proxy {before['pid']} stops already; waiting for it (SIGTERM ends it at once)")
    else:
        _order(client, "stop")
        tell(f"proxy {before['pid']} stops: it finishes its exchanges, then its backends end")
    while _still_there(client, before):
        time.sleep(POLL)  # noqa: TID251  # nothing else runs in this process
    tell(f"proxy {before['pid']} is gone")


def _still_there(client: AdminClient, before: Json) -> bool:
    """Tell whether the same process answers, and not nobody or a successor."""
    try:
        now = client.get("/v1/status")
    except ProxyLost:
        return False
    except ProblemAnswer as problem:
        return problem.status >= 500
    return all(now.get(key) == before.get(key) for key in ("pid", "started"))
