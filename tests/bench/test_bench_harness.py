"""The harness itself: one small run from end to end, and the pure parts that turn figures into answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs.tools.performance_chart import draw_chart
from tests.bench.bars import judge
from tests.bench.h2load import parse_h2load
from tests.bench.outcome import Outcome, Sample, percentile
from tests.bench.report import Report, join_reports, load_report
from tests.bench.table import format_report
from tests.bench.tools import Tool, ToolMissing, find_tool
from tests.bench.usage import read_usage
from tests.bench.websocket import mask_frame, split_masked
from tests.bench.wrk import parse_report
from tests.support.tools import require_tool

_PROJECT = Path(__file__).resolve().parents[2]
_RUN_TIMEOUT = 90.0


def _sample(proxy: str, *, case: str = "get-32", round_number: int = 0, microseconds: float = 10.0) -> Sample:
    outcome = Outcome(requests=1000, seconds=1.0, p50=0.001, p99=0.002)
    return Sample(
        case=case,
        proxy=proxy,
        round=round_number,
        outcome=outcome,
        processor_seconds=microseconds * 1e-6 * outcome.requests,
        memory_bytes=1024,
    )


def _report(*samples: Sample) -> Report:
    return Report(
        machine={"processor": "made up", "rounds": "1"},
        versions={},
        samples=samples,
        verdicts=judge(samples, cases={sample.case for sample in samples}),
        absent={"caddy": "not installed"},
        failures=(),
    )


def test_a_quick_run_of_one_case_prints_figures_of_nginx_and_leaves_nothing_behind(tmp_path: Path):
    """From the command line to table and JSON; the run's own files and processes are gone afterwards."""
    require_tool("nginx", package="nginx")
    require_tool("wrk", package="wrk")
    command = [sys.executable, "-m", "tests.bench", "--quick", "--case", "get-1", "--case", "websocket"]
    command += ["--proxies", "nginx", "--directory", str(tmp_path)]
    # Not below tmp_path: the address of a unix socket has 107 bytes.
    with tempfile.TemporaryDirectory(prefix="b") as temporary:
        done = subprocess.run(
            command,
            cwd=_PROJECT,
            env={**os.environ, "TMPDIR": temporary},
            capture_output=True,
            text=True,
            timeout=_RUN_TIMEOUT,
            check=False,
        )
        left_behind = os.listdir(temporary)

    assert done.returncode == 0, done.stderr
    assert "small GET, 1 connection (get-1)" in done.stdout
    rows = {(row["case"], row["proxy"]): row for row in json.loads((tmp_path / "bench.json").read_text())["rows"]}
    assert set(rows) == {("get-1", "direct"), ("get-1", "nginx"), ("websocket", "nginx")}
    assert all(row["rate"] > 0 and row["errors"] == 0 for row in rows.values())
    assert rows["get-1", "nginx"]["processor_per_request"] > 0
    assert rows["get-1", "nginx"]["memory_bytes"] > 0
    assert (tmp_path / "bench.txt").read_text() == done.stdout
    assert left_behind == []


def test_a_bar_is_the_median_of_the_ratios_of_each_round():
    """A round in which the machine was slow for everybody does not count for or against anybody."""
    figures = [(10.0, 25.0), (50.0, 100.0), (10.0, 40.0)]
    samples = [
        _sample(proxy, round_number=number, microseconds=value)
        for number, pair in enumerate(figures)
        for proxy, value in zip(("nginx", "hotswap"), pair, strict=True)
    ]

    verdicts = {verdict.title: verdict for verdict in judge(samples, cases={"get-32"})}

    verdict = verdicts["requests for the same processor time, times nginx"]
    assert verdict.value == pytest.approx(0.4)
    assert (verdict.rounds, verdict.met) == (3, True)


def test_a_bar_without_its_peer_is_neither_met_nor_missed():
    """Nothing is claimed about what was not measured."""
    verdicts = judge([_sample("hotswap")], cases={"get-32"})

    assert {(verdict.value, verdict.met) for verdict in verdicts} == {(None, None)}


def test_a_missed_bar_is_said_in_the_table():
    """The reader does not compare numbers."""
    text = format_report(_report(_sample("hotswap", microseconds=100.0), _sample("nginx")))

    assert "0.10  NO" in text
    assert "not measured: caddy: not installed" in text


def test_the_chart_draws_the_proxies_of_a_case_with_the_best_first():
    """What comes out is XML, and tells the figures to who cannot see it."""
    root = ElementTree.fromstring(draw_chart(_report(_sample("hotswap", microseconds=22.0), _sample("nginx"))))

    names = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert names.index("nginx") < names.index("hotswap")
    description = root.find("{http://www.w3.org/2000/svg}desc")
    assert description is not None
    assert description.text == "small GET, 32 connections, µs: nginx 10.0, hotswap 22.0"


def test_the_usage_of_a_process_includes_its_living_children():
    """A shell that waits costs nothing; what its child burns is found."""
    burn = "import time\nwhile time.process_time() < 0.1: pass\nprint(1, flush=True)\ninput()"
    shell = subprocess.Popen(
        ["/bin/sh", "-c", '"$0" -c "$1"; true', sys.executable, burn],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == b"1\n"
        usage = read_usage(shell.pid)
        shell.communicate(b"\n", timeout=10)

    assert usage.processor_seconds >= 0.09
    assert usage.memory_bytes > 0


def test_error_answers_do_not_count_as_requests():
    """wrk counts them as both."""
    line = (
        '{"requests": 10, "microseconds": 1000000, "bytes": 1, "p50": 5, "p99": 9, "worst": 9,'
        ' "connect": 0, "read": 1, "write": 0, "status": 4, "timeout": 0}'
    )

    outcome = parse_report(line)

    assert (outcome.requests, outcome.errors) == (6, 5)
    assert outcome.p99 == pytest.approx(9e-6)


def test_h2load_counts_what_ended_well_by_its_log():
    """Streams that failed are in the log with -1; those that the end of the time cut off are nowhere."""
    printed = (
        "finished in 2.00s, 1.50 req/s, 1.2KB/s\n"
        "requests: 8 total, 7 started, 4 done, 3 succeeded, 2 failed, 1 errored, 0 timeout\n"
    )
    log = "1\t200\t100\n2\t200\t300\n3\t200\t200\n4\t503\t9\n5\t-1\t9\n"

    outcome = parse_h2load(printed, log)

    assert (outcome.requests, outcome.errors, outcome.seconds) == (3, 2, 2.0)
    assert outcome.p50 == pytest.approx(200e-6)
    assert outcome.p99 == pytest.approx(300e-6)


def test_a_report_is_read_back_and_a_case_that_was_measured_again_replaces_the_old_one(tmp_path: Path):
    """A long run can be made of short ones, each with its cases whole."""
    document = tmp_path / "bench.json"
    document.write_text(_report(_sample("nginx"), _sample("nginx", case="get-1")).to_json())
    earlier = load_report(document)

    joined = join_reports(earlier, _report(_sample("nginx", microseconds=20.0)), order=["get-32", "get-1"])

    assert earlier.to_json() == document.read_text()
    assert [(row.case, round(row.processor_per_request * 1e6)) for row in joined.rows()] == [
        ("get-32", 20),
        ("get-1", 10),
    ]
    assert {verdict.case for verdict in joined.verdicts} == {"get-32", "get-1"}


@pytest.mark.parametrize("cut", range(1, 20))
def test_masked_frames_are_split_wherever_the_bytes_are_cut(cut: int):
    """Two messages back to back, in two pieces."""
    sent = mask_frame(b"hello", b"abcd") + mask_frame(b"you", b"wxyz")
    received = bytearray(sent[:cut])

    payloads = split_masked(received)
    received += sent[cut:]
    payloads += split_masked(received)

    assert payloads == [b"hello", b"you"]
    assert received == b""


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, 0.0), ([3.0], 0.99, 3.0), ([4.0, 1.0, 3.0, 2.0], 0.5, 3.0), ([1.0, 2.0], 1.0, 2.0)],
)
def test_a_percentile_is_one_of_the_values(values: list[float], share: float, expected: float):
    """Nearest rank, also at the ends."""
    assert percentile(values, share) == expected


def test_a_missing_tool_names_the_package_that_brings_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The reader learns what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ToolMissing, match="apt-get install wrk"):
        find_tool(Tool.WRK)
