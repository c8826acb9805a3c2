"""The dashboard and the alert rules speak of metrics that exist, and Prometheus accepts them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from proxy.control.metrics import HotswapCollector
from proxy.core.tally import Tally
from tests.support.tools import require_tool

CONF = Path(__file__).parents[2] / "conf"
_NAME = re.compile(r"hotswap_[a-z_]+(?=[{\[ )])")


STATUS: dict[str, dict[str, object]] = {"pools": {}, "listeners": {}}


def _known(name: str) -> bool:
    families = HotswapCollector(Tally(), lambda: STATUS).collect()
    exported = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    return re.sub(r"_(bucket|sum|count)$", "", name) in exported


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    """Every expression of every panel names exported metrics."""
    dashboard = json.loads((CONF / "grafana" / "hotswap.json").read_text())
    names = _NAME.findall(json.dumps(dashboard))
    assert len(names) > 10
    assert [name for name in names if not _known(name)] == []


def test_the_alerts_ask_for_metrics_that_exist() -> None:
    """Every expression of every rule names exported metrics."""
    names = _NAME.findall((CONF / "prometheus" / "alerts.yml").read_text())
    assert names
    assert [name for name in names if not _known(name)] == []


def test_prometheus_accepts_the_alerts_and_they_fire() -> None:
    """Promtool checks the rules and runs their own tests."""
    promtool = require_tool("promtool", package="prometheus")
    for words in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run([promtool, *words], cwd=CONF / "prometheus", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
