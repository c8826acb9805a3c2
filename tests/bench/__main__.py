"""``python -m tests.bench``: compare hotswap with its peers on this machine.

The table goes to stdout, progress to stderr. Exit code 0: measured; 1: something that was asked for could not
be measured (a missing peer counts only with ``CI=true``). A bar that is missed is printed, and is not an error.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

import click

from tests.bench.cases import CASES, find_case
from tests.bench.chart import draw_chart
from tests.bench.measure import Pace
from tests.bench.proxies.peer import ProxyName
from tests.bench.run import Plan, run_bench
from tests.bench.table import format_report
from tests.bench.tools import ToolMissing

_FULL = Pace(seconds=3.0, warm_up=1.0)
_QUICK = Pace(seconds=1.0, warm_up=1.0)
_FULL_ROUNDS = 5


@click.command(help="Compare hotswap with nginx, HAProxy, Envoy and Caddy in one run on this machine.")
@click.option("--quick", is_flag=True, help="One round of one second for each measurement.")
@click.option("--rounds", type=click.IntRange(1, 50), help="How often everything is repeated (5, with --quick 1).")
@click.option("--seconds", type=click.IntRange(1, 60), help="Length of a measurement (3, with --quick 1).")
@click.option(
    "cases",
    "--case",
    multiple=True,
    type=click.Choice([case.name for case in CASES]),
    help="Only these cases.",
)
@click.option(
    "proxies",
    "--proxy",
    multiple=True,
    type=click.Choice([name.value for name in ProxyName]),
    help="Only these.",
)
@click.option("--bind/--no-bind", default=True, help="Give the proxy a processor of its own.")
@click.option("json_path", "--json", type=click.Path(path_type=Path), help="Write the report as JSON here.")
@click.option("svg_path", "--svg", type=click.Path(path_type=Path), help="Write the chart here.")
@click.option("text_path", "--text", type=click.Path(path_type=Path), help="Write the table here too.")
def main(
    *,
    quick: bool,
    rounds: int | None,
    seconds: int | None,
    cases: tuple[str, ...],
    proxies: tuple[str, ...],
    bind: bool,
    json_path: Path | None,
    svg_path: Path | None,
    text_path: Path | None,
) -> None:
    """Run what the options ask for, print the table, write the files."""
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
    text = format_report(report)
    print(text, end="")
    for path, content in ((text_path, text), (json_path, report.to_json()), (svg_path, draw_chart(report))):
        if path is not None:
            path.write_text(content, encoding="utf-8")
    missing = set(report.absent) if os.environ.get("CI") == "true" else set(report.absent) & {ProxyName.HOTSWAP}
    sys.exit(1 if report.failures or missing else 0)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
