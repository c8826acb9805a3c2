"""The report as a chart for the documentation: processor time a request, as SVG written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tests.bench.cases import CASES
from tests.bench.proxies.peer import ProxyName
from tests.bench.report import Report, Row

# Cases whose unit is one request; a download of 100 MiB on the same axis would flatten all others.
_CHARTED = ("get-32", "get-512", "get-close", "post-4k", "tls-get", "tls-handshake", "websocket")

_WIDTH = 760
_LEFT = 96
_RIGHT = 84
_BAR_HEIGHT = 16
_BAR_STEP = 21
_PANEL_HEAD = 30
_PANEL_GAP = 18
_TOP = 62
_FOOT = 30

_NOTE = "microseconds, shorter is better; each panel has its own scale"

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 17px; font-weight: 600 }
.note { font-size: 12px; fill: #57606a }
.case { font-weight: 600 }
.bar { fill: #afb8c1 }
.own { fill: #0969da }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .note { fill: #9198a1 } .bar { fill: #57606a } .own { fill: #4493f8 }
}
"""


def draw_chart(report: Report) -> str:
    """Return an SVG document with a panel of bars for each charted case that was measured."""
    titles = {case.name: case.title for case in CASES}
    rows = report.rows()
    panels = [(name, [row for row in rows if row.case == name and row.processor_per_request]) for name in _CHARTED]
    panels = [(name, panel) for name, panel in panels if panel]
    height = _TOP + _FOOT + sum(_panel_height(panel) for _, panel in panels)
    machine = f"{report.machine.get('processor', '')}, {report.machine.get('rounds', '')} rounds"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"'
        ' aria-labelledby="title description">',
        '<title id="title">Processor time of the proxy for one request</title>',
        f'<desc id="description">{escape(_describe(panels, titles))}</desc>',
        f"<style>{_STYLE}</style>",
        '<text class="title" x="16" y="28">Processor time of the proxy for one request</text>',
        f'<text class="note" x="16" y="48">{_NOTE}</text>',
    ]
    top = _TOP
    for name, panel in panels:
        parts += _draw_panel(titles[name], panel, top)
        top += _panel_height(panel)
    parts += [f'<text class="note" x="16" y="{top + 12}">{escape(machine)}</text>', "</svg>"]
    return "\n".join(parts) + "\n"


def _panel_height(panel: Sequence[Row]) -> int:
    return _PANEL_HEAD + _BAR_STEP * len(panel) + _PANEL_GAP


def _draw_panel(title: str, panel: Sequence[Row], top: int) -> list[str]:
    parts = [f'<text class="case" x="16" y="{top + 18}">{escape(title)}</text>']
    longest = max(row.processor_per_request for row in panel)
    y = top + _PANEL_HEAD
    for row in sorted(panel, key=lambda row: row.processor_per_request):
        width = max(1.0, (_WIDTH - _LEFT - _RIGHT) * row.processor_per_request / longest)
        kind = "own" if row.proxy == ProxyName.HOTSWAP else "bar"
        parts += [
            f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(row.proxy)}</text>',
            f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR_HEIGHT}" rx="2"/>',
            f'<text x="{_LEFT + width + 6:.1f}" y="{y + 13}">{_format(row)}</text>',
        ]
        y += _BAR_STEP
    return parts


def _describe(panels: Sequence[tuple[str, Sequence[Row]]], titles: dict[str, str]) -> str:
    return "; ".join(
        f"{titles[name]}: " + ", ".join(f"{row.proxy} {_format(row)}" for row in panel) for name, panel in panels
    )


def _format(row: Row) -> str:
    microseconds = row.processor_per_request * 1e6
    return f"{microseconds:,.0f}" if microseconds >= 100 else f"{microseconds:.1f}"
