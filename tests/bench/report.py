"""The result of a run: medians of the samples, verdicts on the bars, and where it was measured; as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.bars import Verdict, judge
from tests.bench.outcome import Outcome, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One case on one proxy: medians of the rounds, in seconds and bytes; ``errors`` is the sum."""

    case: str
    proxy: str
    rounds: int
    rate: float
    bytes_rate: float
    processor_per_request: float
    p50: float
    p99: float
    memory_bytes: float
    errors: int
    details: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a run found.

    Attributes:
        machine: what it ran on, and how.
        versions: of the programs.
        samples: each measurement.
        verdicts: on the bars.
        absent: proxies (and ``demo``) that were asked for and not measured, with the reason.
        failures: measurements that broke, as sentences.
    """

    machine: Mapping[str, str]
    versions: Mapping[str, str]
    samples: tuple[Sample, ...]
    verdicts: tuple[Verdict, ...]
    absent: Mapping[str, str]
    failures: tuple[str, ...]

    def rows(self) -> tuple[Row, ...]:
        """Return the medians, in the order in which cases and proxies first came."""
        groups: dict[tuple[str, str], list[Sample]] = {}
        order: dict[str, None] = {}
        for sample in self.samples:
            groups.setdefault((sample.case, sample.proxy), []).append(sample)
            order.setdefault(sample.case)
        cases = list(order)
        return tuple(
            _row(case, proxy, group)
            for (case, proxy), group in sorted(groups.items(), key=lambda item: cases.index(item[0][0]))
        )

    def to_json(self) -> str:
        """Return the report as a JSON document, rows and samples both."""
        document = {
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "rows": [dataclasses.asdict(row) for row in self.rows()],
            "bars": [dataclasses.asdict(verdict) for verdict in self.verdicts],
            "absent": dict(self.absent),
            "failures": list(self.failures),
            "samples": [dataclasses.asdict(sample) for sample in self.samples],
        }
        return json.dumps(document, indent=1) + "\n"


def load_report(path: Path) -> Report:
    """Read what ``to_json`` made.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a report; likewise KeyError and TypeError.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    return Report(
        machine=document["machine"],
        versions=document["versions"],
        samples=tuple(Sample(**(entry | {"outcome": Outcome(**entry["outcome"])})) for entry in document["samples"]),
        verdicts=tuple(Verdict(**entry) for entry in document["bars"]),
        absent=document["absent"],
        failures=tuple(document["failures"]),
    )


def join_reports(earlier: Report, later: Report, *, order: Sequence[str]) -> Report:
    """Return both as one: of a case that both have, only the later samples count.

    Ratios stay inside one run, since a case comes from one of them whole.

    Args:
        earlier: of the same machine.
        later: whose word counts.
        order: names of cases, as they are to come.
    """
    anew = {sample.case for sample in later.samples}
    samples = [sample for sample in earlier.samples if sample.case not in anew] + list(later.samples)
    measured = {sample.proxy for sample in samples}
    absent = {name: reason for name, reason in earlier.absent.items() if name not in measured}
    return Report(
        machine=later.machine,
        versions={**earlier.versions, **later.versions},
        samples=tuple(sorted(samples, key=lambda sample: order.index(sample.case))),
        verdicts=judge(samples, cases={sample.case for sample in samples}),
        absent=absent | dict(later.absent),
        failures=tuple(text for text in earlier.failures if text.partition(" ")[0] not in anew) + later.failures,
    )


def describe_machine() -> dict[str, str]:
    """Return what figures depend on: processor, how many of them, kernel, Python."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "processor": model,
        "processors": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _row(case: str, proxy: str, group: list[Sample]) -> Row:
    names = dict.fromkeys(name for sample in group for name in sample.outcome.details)
    return Row(
        case=case,
        proxy=proxy,
        rounds=len(group),
        rate=statistics.median(sample.rate for sample in group),
        bytes_rate=statistics.median(sample.bytes_rate for sample in group),
        processor_per_request=statistics.median(sample.processor_per_request for sample in group),
        p50=statistics.median(sample.outcome.p50 for sample in group),
        p99=statistics.median(sample.outcome.p99 for sample in group),
        memory_bytes=statistics.median(sample.memory_bytes for sample in group),
        errors=sum(sample.outcome.errors for sample in group),
        details={name: statistics.median(sample.outcome.details.get(name, 0.0) for sample in group) for name in names},
    )
