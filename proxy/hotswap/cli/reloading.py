"""The verb `reload`: triggers rollouts, follows them, and prints how they went."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import click

from hotswap.cli.client import LONG_TIMEOUT, AdminClient, Json, ProblemAnswer, path_of
from hotswap.cli.completing import complete_pool
from hotswap.cli.exits import CommandError, ExitCode
from hotswap.cli.following import follow, summary, why_ended
from hotswap.cli.picture import open_progress
from hotswap.cli.speaking import speaks
from hotswap.cli.terminal import put, put_json, tell
from hotswap.cli.waiting import cut_lines
from hotswap.core.errors import PoolNotStarted, problem_text

EVERY = "*"
"""The key of a refusal that is about no pool in particular."""


class Reload:
    """Rollouts accepted and refused so far.

    Attributes:
        reports: of each rollout, as last seen.
        refusals: pools that were left as they are, with code, detail and state.
        changes: what else the configuration changed, in words.
        certificates: those that were loaded, where the answer says so.
        down: pools in which nothing serves and that were not started anew, where the answer says so.
    """

    def __init__(self) -> None:
        self.reports: dict[str, Json] = {}
        self.refusals: dict[str, Json] = {}
        self.changes: list[str] = []
        self.certificates: list[Json] = []
        self.down: list[str] = []

    @property
    def code(self) -> ExitCode:
        """The exit code: the worst of what happened."""
        if any(report["outcome"] in {"failed", "aborted"} for report in self.reports.values()):
            return ExitCode.ROLLOUT_FAILED
        return ExitCode.REFUSED if self.refusals else ExitCode.DONE

    def as_json(self) -> Json:
        """Give it as the stable document of `--json`."""
        return {"rollouts": list(self.reports.values()), "refusals": self.refusals}


@click.command()
@click.argument("pools", nargs=-1, metavar="[POOL]...", shell_complete=complete_pool)
@click.option("--no-wait", is_flag=True, help="Return when it is accepted.")
@click.option("--json", "as_json", is_flag=True, help="Print the reports as JSON at the end.")
@speaks
def reload(client: AdminClient, pools: tuple[str, ...], no_wait: bool, as_json: bool) -> None:
    """Replace every backend of the POOLs, one at a time; of every supervised pool when none is named.

    Reads the configuration again: all of it, or, when pools are named, the definition of these only. Waits for the end
    and shows how it goes. Pools are replaced one after the other, and one that is refused or fails ends it; where
    every pool is meant, one in which nothing served before ends no other.
    """
    found = Reload()
    with following(found):
        if pools:
            _check_names(client, pools)
            _reload_named(client, pools, found, wait=not no_wait)
        else:
            _reload_all(client, found, wait=not no_wait)
    if as_json:
        put_json(found.as_json())
    tell_end(found, as_json=as_json, no_wait=no_wait)
    click.get_current_context().exit(int(found.code))


@contextmanager
def following(found: Reload) -> Iterator[None]:
    """Say what goes on when the block is interrupted: a rollout does not end with who watches it."""
    try:
        yield
    except KeyboardInterrupt:
        names = " and ".join(report["id"] for report in found.reports.values() if report["outcome"] == "running")
        if names:
            tell(f"rollout {names} goes on without you; hotswap status shows it, hotswap abort POOL ends it")
            click.get_current_context().exit(int(ExitCode.FAILED))
        raise


def tell_end(found: Reload, *, as_json: bool, no_wait: bool) -> None:
    """Print how each rollout went, what was refused, and what the failed ones left behind."""
    for report in found.reports.values():
        if not as_json:
            put(f"rollout {report['id']} of pool {report['pool']}: accepted" if no_wait else summary(report))
    for pool, refusal in found.refusals.items():
        problems = refusal.get("state", {}).get("problems", ())
        # The detail is for those who see nothing else of it.
        invalid = problems and refusal["code"] == "config-invalid"
        why = "the configuration cannot be used" if invalid else refusal["detail"]
        tell(f"refused: {refusal['code']}: {why}")
        _tell_lines(map(problem_text, problems))
        tell("  nothing was changed" if pool == EVERY else f"  pool {pool} is as it was")
    for report in found.reports.values():
        _tell_lines(cut_lines(report))
        _tell_failure(report)


def _check_names(client: AdminClient, pools: Iterable[str]) -> None:
    """Find a mistyped name before anything is replaced."""
    known = client.get("/v1/status")["pools"]
    unknown = [pool for pool in pools if pool not in known]
    if unknown:
        there_is = f"there is {', '.join(known)}" if known else "there is none"
        raise CommandError(ExitCode.USAGE, f"no pool {' or '.join(map(repr, unknown))}; {there_is}")


def _reload_named(client: AdminClient, pools: Iterable[str], found: Reload, *, wait: bool) -> None:
    for pool in dict.fromkeys(pools):
        try:
            report = client.post(path_of("v1", "pools", pool, "reload"), timeout=LONG_TIMEOUT)
        except ProblemAnswer as problem:
            if problem.status != 409:
                raise
            found.refusals[pool] = _refusal(problem)
            return
        found.reports[report["id"]] = report
        if wait:
            follow_all(client, found)
        if found.code is not ExitCode.DONE:
            return


def _reload_all(client: AdminClient, found: Reload, *, wait: bool) -> None:
    order(client, "/v1/reload", found)
    for change in found.changes:
        tell(f"configuration: {change}")
    if not found.reports and not found.refusals:
        tell("there is no supervised pool to reload")
    if wait:
        follow_all(client, found)


def order(client: AdminClient, path: str, found: Reload) -> None:
    """Have the proxy read its configuration, and note what became of that.

    Raises:
        CommandError: a pool that is new in it did not come up.
        ProblemAnswer: it was not done for another reason than a refusal.
    """
    try:
        answer = client.post(path, timeout=LONG_TIMEOUT)
    except ProblemAnswer as problem:
        if problem.code == PoolNotStarted.code:
            output = [f"| {line}" for line in problem.state.get("output", ())]
            raise CommandError(ExitCode.ROLLOUT_FAILED, problem.detail, *output) from None
        if problem.status != 409:
            raise
        several = problem.state.get("refusals")
        name = str(problem.state.get("pool", EVERY))
        found.refusals.update(several if several else {name: _refusal(problem)})
        return
    found.refusals.update(answer["refusals"])
    found.reports.update((report["id"], report) for report in answer["rollouts"])
    found.changes += answer["changes"]
    found.certificates += answer.get("certificates", ())
    found.down += answer.get("down", ())


def follow_all(client: AdminClient, found: Reload) -> None:
    """Show how the rollouts go until the last has ended."""
    for key, report in found.reports.items():
        if report["outcome"] == "running":
            with open_progress() as progress:
                found.reports[key] = follow(client, report, progress)


def _refusal(problem: ProblemAnswer) -> Json:
    return {"code": problem.code, "detail": problem.detail, "state": dict(problem.state)}


def _tell_failure(report: Json) -> None:
    if report["outcome"] not in {"failed", "aborted"}:
        return
    pool = report["pool"]
    tell(f"rollout {report['id']} of pool {pool} {report['outcome']}: {why_ended(report)}")
    if report["output"]:
        tell("the last lines of the backend:")
        _tell_lines(report["output"])
    if report["rolled_back"]:
        returned = any(slot["rollback"] for slot in report["slots"])
        tell(f"pool {pool} is back at the release before" if returned else f"pool {pool} is as it was")
    if report["locked"]:
        tell(f"pool {pool} is locked: reloads are refused and crashed backends stay down until: hotswap unlock {pool}")


def _tell_lines(lines: Iterable[str]) -> None:
    for line in lines:
        tell(f"  {line}")
