"""``python -m tests.bench``: compare hotswap with its peers on this machine.

The table goes to stdout, progress to stderr. Exit code 0: measured; 1: something that was asked for could not
be measured (a missing peer counts only with ``CI=true``). A bar that is missed is printed, and is not an error.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import click

from tests.bench.cases import CASES, find_case
from tests.bench.measure import Pace
from tests.bench.proxies.peer import ProxyName
from tests.bench.report import Report, join_reports, load_report
from tests.bench.run import Plan, run_bench
from tests.bench.table import format_report
from tests.bench.tools import ToolMissing

_FULL = Pace(seconds=3.0, warm_up=1.0)
_QUICK = Pace(seconds=1.0, warm_up=1.0)
_FULL_ROUNDS = 5


def _several(known: list[str]) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], tuple[str, ...]]:
    """Accept names given one by one or with commas between them."""

    def split(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(name for value in values for name in value.split(",") if name)
        for name in names:
            if name not in known:
                raise click.BadParameter(f"{name!r} is not one of {', '.join(known)}")
        return names

    return split


@click.command(help="Compare hotswap with nginx, HAProxy, Envoy and Caddy in one run on this machine.")
@click.option("--quick", is_flag=True, help="One round of one second for each measurement.")
@click.option("--rounds", type=click.IntRange(1, 50), help="How often everything is repeated (5, with --quick 1).")
@click.option("--seconds", type=click.IntRange(1, 60), help="Length of a measurement (3, with --quick 1).")
@click.option(
    "cases",
    "--case",
    "--cases",
    multiple=True,
    metavar="NAMES",
    callback=_several([case.name for case in CASES]),
    help=f"Only these of {', '.join(case.name for case in CASES)}.",
)
@click.option(
    "proxies",
    "--proxy",
    "--proxies",
    multiple=True,
    metavar="NAMES",
    callback=_several([name.value for name in ProxyName]),
    help=f"Only these of {', '.join(ProxyName)}.",
)
@click.option("--bind/--no-bind", default=True, help="Give the proxy a processor of its own.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write bench.txt and bench.json here.",
)
@click.option(
    "--keep",
    is_flag=True,
    help="Keep what an earlier run wrote to bench.json in the directory, except for the cases of this one.",
)
def main(
    *,
    quick: bool,
    rounds: int | None,
    seconds: int | None,
    cases: tuple[str, ...],
    proxies: tuple[str, ...],
    bind: bool,
    directory: Path | None,
    keep: bool,
) -> None:
    """Run what the options ask for, print the table, write the files."""
    if keep and directory is None:
        raise click.UsageError("--keep needs --directory")
    # Ended from outside, the run still has processes to end.
    signal.signal(signal.SIGTERM, _interrupt)
    pace = _QUICK if quick else _FULL
    plan = Plan(
        cases=[find_case(name) for name in cases] or CASES,
        proxies=[ProxyName(name) for name in proxies] or list(ProxyName),
        rounds=rounds or (1 if quick else _FULL_ROUNDS),
        pace=pace if seconds is None else Pace(seconds=float(seconds), warm_up=min(pace.warm_up, seconds)),
        bind=bind,
    )
    try:
        report = run_bench(plan, tell=lambda line: print(line, file=sys.stderr, flush=True))
    except ToolMissing as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    print(format_report(report), end="")
    if directory is not None:
        _write(report, directory, keep=keep)
    missing = set(report.absent) if os.environ.get("CI") == "true" else set(report.absent) & {ProxyName.HOTSWAP}
    sys.exit(1 if report.failures or missing else 0)


def _write(report: Report, directory: Path, *, keep: bool) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    document = directory / "bench.json"
    if keep and document.exists():
        report = join_reports(load_report(document), report, order=[case.name for case in CASES])
    for name, content in (("bench.txt", format_report(report)), ("bench.json", report.to_json())):
        (directory / name).write_text(content, encoding="utf-8")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
