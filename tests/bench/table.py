"""The report as text: one table of all figures, and one of the bars."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.bars import Verdict
from tests.bench.cases import find_case
from tests.bench.measure import DIRECT
from tests.bench.report import Report, Row

_HEADINGS = ("proxy", "requests/s", "CPU µs/request", "p50 µs", "p99 µs", "memory MiB", "MB/s", "errors", "")
_BAR_HEADINGS = ("case", "bar", "must be", "is", "met")


def format_report(report: Report) -> str:
    """Return the whole report, ready to print."""
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    parts = ["\n".join([machine, *_format_versions(report)]), _format_rows(report.rows())]
    if report.verdicts:
        parts.append(_columns([_BAR_HEADINGS, *map(_bar_cells, report.verdicts)], left=2))
    parts.extend(f"not measured: {name}: {reason}" for name, reason in report.absent.items())
    parts.extend(f"failed: {failure}" for failure in report.failures)
    return "\n\n".join(parts) + "\n"


def _format_versions(report: Report) -> list[str]:
    return [f"{name}: {version}" for name, version in report.versions.items()]


def _format_rows(rows: Sequence[Row]) -> str:
    direct = {row.case: row.p50 for row in rows if row.proxy == DIRECT}
    lines = [_HEADINGS, *(_cells(row, direct.get(row.case)) for row in rows)]
    formatted = _columns(lines, left=1).splitlines()
    text = [formatted[0]]
    case = None
    for row, line in zip(rows, formatted[1:], strict=True):
        if row.case != case:
            case = row.case
            text += ["", f"{find_case(case).title} ({case})"]
        text.append(line)
    return "\n".join(text)


def _cells(row: Row, direct_p50: float | None) -> tuple[str, ...]:
    return (
        row.proxy,
        f"{row.rate:,.0f}" if row.rate >= 100 else f"{row.rate:.1f}",
        f"{row.processor_per_request * 1e6:,.1f}" if row.processor_per_request else "-",
        f"{row.p50 * 1e6:,.0f}",
        f"{row.p99 * 1e6:,.0f}",
        f"{row.memory_bytes / 2**20:.1f}" if row.memory_bytes else "-",
        f"{row.bytes_rate / 1e6:,.0f}" if row.bytes_rate >= 1e6 else "-",
        str(row.errors),
        _remark(row, direct_p50),
    )


def _remark(row: Row, direct_p50: float | None) -> str:
    details = row.details
    remarks = []
    if direct_p50 is not None and row.proxy != DIRECT:
        remarks.append(f"adds {(row.p50 - direct_p50) * 1e6:,.0f} µs")
    if "idle_bytes" in details:
        remarks.append(f"{details['idle_bytes'] / 1024:.2f} KiB for each of {details['idle_connections']:.0f} idle")
    if "steady_p99" in details:
        steady, boots = details["steady_p99"] * 1e6, details["boots_p99"] * 1e6
        remarks.append(f"{details['rollouts']:.0f} rollouts; p99 steady {steady:,.0f} µs, boots alone {boots:,.0f} µs")
    return ", ".join(remarks)


def _bar_cells(verdict: Verdict) -> tuple[str, ...]:
    bound = f"{'at least' if verdict.at_least else 'at most'} {verdict.bound:g}"
    if verdict.stretch is not None:
        bound += f" (stretch {verdict.stretch:g})"
    value = "-" if verdict.value is None else f"{verdict.value:.2f}"
    met = {True: "yes", False: "NO", None: "not measured"}[verdict.met]
    return (verdict.case, verdict.title, bound, value, met)


def _columns(lines: Sequence[Sequence[str]], *, left: int) -> str:
    """Align: the first ``left`` columns and the last to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    last = len(widths) - 1
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < left or place == last else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
