"""Draw docs/images/performance.svg from performance.json beside it, a report of `make bench`, as SVG written by hand.

`make docs` draws it; a test fails while the file is stale. It brings its own background, so that it can be read on a
page of either colour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from tests.bench.cases import CASES
from tests.bench.proxies.peer import ProxyName
from tests.bench.report import Report, Row, load_report

PAGE = Path(__file__).parents[2] / "docs" / "images" / "performance.svg"

_MICROSECONDS = "µs"
_MILLISECONDS = "ms"
_KIB = "KiB"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """Bars of one case: what is drawn of a row, and its unit."""

    title: str
    unit: str
    bars: Sequence[tuple[str, float]]


# The cases, in order, and in which unit the processor time for one request is told.
_CHARTED = {
    "get-32": _MICROSECONDS,
    "get-512": _MICROSECONDS,
    "get-close": _MICROSECONDS,
    "post-4k": _MICROSECONDS,
    "tls-get": _MICROSECONDS,
    "tls-handshake": _MICROSECONDS,
    "h2-get": _MICROSECONDS,
    "websocket": _MICROSECONDS,
    "download-100m": _MILLISECONDS,
    "upload-100m": _MILLISECONDS,
    "idle-10k": _KIB,
}
_COLUMNS = 2
_COLUMN_WIDTH = 480
_MARGIN = 16
_LEFT = 90
_RIGHT = 76
_BAR_HEIGHT = 15
_BAR_STEP = 20
_PANEL_HEAD = 28
_PANEL_GAP = 16
_TOP = 62
_FOOT = 26

_NOTE = "shorter is better; each panel has its own scale"

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.page { fill: #ffffff }
.title { font-size: 17px; font-weight: 600 }
.note { font-size: 12px; fill: #57606a }
.case { font-weight: 600 }
.bar { fill: #afb8c1 }
.own { fill: #0969da }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .page { fill: #0d1117 } .note { fill: #9198a1 } .bar { fill: #57606a } .own { fill: #4493f8 }
}
"""


def write_page() -> str:
    """Give the chart of the report that the documentation has."""
    return draw_chart(load_report(PAGE.with_suffix(".json")))


def draw_chart(report: Report) -> str:
    """Return an SVG document with a panel of bars for each charted case that was measured."""
    panels = list(_panels(report.rows()))
    lines = [panels[first : first + _COLUMNS] for first in range(0, len(panels), _COLUMNS)]
    height = _TOP + _FOOT + sum(_line_height(line) for line in lines)
    width = _COLUMN_WIDTH * min(_COLUMNS, max(1, len(panels)))
    machine = f"{report.machine.get('processor', '')}, medians of {report.machine.get('rounds', '')} rounds"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
        ' aria-labelledby="title description">',
        '<title id="title">Processor time of the proxy for one request</title>',
        f'<desc id="description">{escape(_describe(panels))}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect class="page" width="{width}" height="{height}" rx="6"/>',
        f'<text class="title" x="{_MARGIN}" y="28">Processor time of the proxy for one request</text>',
        f'<text class="note" x="{_MARGIN}" y="48">{_NOTE}</text>',
    ]
    top = _TOP
    for line in lines:
        for column, panel in enumerate(line):
            parts += _draw_panel(panel, column * _COLUMN_WIDTH, top)
        top += _line_height(line)
    parts += [f'<text class="note" x="{_MARGIN}" y="{top + 8}">{escape(machine)}</text>', "</svg>"]
    return "\n".join(parts) + "\n"


def _panels(rows: Sequence[Row]) -> Iterator[_Panel]:
    titles = {case.name: case.title for case in CASES}
    for name, unit in _CHARTED.items():
        read, what = _READERS[unit]
        bars = [(row.proxy, value) for row in rows if row.case == name and (value := read(row)) > 0]
        if bars:
            yield _Panel(title=titles[name] + what, unit=unit, bars=sorted(bars, key=lambda bar: bar[1]))


_READERS: dict[str, tuple[Callable[[Row], float], str]] = {
    _MICROSECONDS: (lambda row: row.processor_per_request * 1e6, ""),
    _MILLISECONDS: (lambda row: row.processor_per_request * 1e3, ""),
    _KIB: (lambda row: row.details.get("idle_bytes", 0.0) / 1024, ": memory of an idle one"),
}


def _line_height(line: Sequence[_Panel]) -> int:
    return _PANEL_HEAD + _BAR_STEP * max(len(panel.bars) for panel in line) + _PANEL_GAP


def _draw_panel(panel: _Panel, left: int, top: int) -> list[str]:
    parts = [f'<text class="case" x="{left + _MARGIN}" y="{top + 18}">{escape(panel.title)}, {panel.unit}</text>']
    longest = panel.bars[-1][1]
    start = left + _LEFT
    y = top + _PANEL_HEAD
    for proxy, value in panel.bars:
        width = max(1.0, (_COLUMN_WIDTH - _LEFT - _RIGHT) * value / longest)
        kind = "own" if proxy == ProxyName.HOTSWAP else "bar"
        parts += [
            f'<text x="{start - 8}" y="{y + 12}" text-anchor="end">{escape(proxy)}</text>',
            f'<rect class="{kind}" x="{start}" y="{y}" width="{width:.1f}" height="{_BAR_HEIGHT}" rx="2"/>',
            f'<text x="{start + width + 6:.1f}" y="{y + 12}">{_format(value)}</text>',
        ]
        y += _BAR_STEP
    return parts


def _describe(panels: Sequence[_Panel]) -> str:
    return "; ".join(
        f"{panel.title}, {panel.unit}: " + ", ".join(f"{proxy} {_format(value)}" for proxy, value in panel.bars)
        for panel in panels
    )


def _format(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
