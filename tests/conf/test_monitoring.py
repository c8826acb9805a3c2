"""The dashboard and the alert rules speak of metrics that exist, and Prometheus accepts them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import trio

from hotswap.control.telemetry.metrics import Metrics
from hotswap.core.tally import Tally
from tests.support.hotswap import run_hotswap
from tests.support.pools import command_pool, listeners
from tests.support.tools import require_tool

CONF = Path(__file__).parents[2] / "conf"
_NAME = re.compile(r"hotswap_[a-z_]+(?=[{\[ )])")


STATUS: dict[str, object] = {"pools": {}, "listeners": {}, "certificates": [], "version": "1.2.3"}


def _known(name: str) -> bool:
    families = Metrics(Tally(), lambda: STATUS).collect()
    exported = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    return re.sub(r"_(bucket|sum|count)$", "", name) in exported


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    """Every expression of every panel names exported metrics."""
    dashboard = json.loads((CONF / "grafana" / "hotswap.json").read_text())
    names = _NAME.findall(json.dumps(dashboard))
    assert len(names) > 10
    assert [name for name in names if not _known(name)] == []


def _expressions(node: object) -> Iterator[str]:
    """Every expression of a dashboard, wherever it is nested."""
    match node:
        case dict():
            if isinstance(node.get("expr"), str):
                yield node["expr"]
            for value in node.values():
                yield from _expressions(value)
        case list():
            for value in node:
                yield from _expressions(value)


def test_prometheus_understands_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    """Grafana shows an empty panel for one that is mistyped; its own variables are filled in as it does."""
    promtool = require_tool("promtool", package="prometheus")
    dashboard = json.loads((CONF / "grafana" / "hotswap.json").read_text())
    filled = [
        re.sub(r"\$\w+", "web", re.sub(r"\$__(rate_)?interval", "5m", expression))
        for expression in _expressions(dashboard)
    ]
    assert len(filled) > 5
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(filled)]
    path = tmp_path / "dashboard.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))  # YAML is a superset of JSON
    done = subprocess.run([promtool, "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


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


async def test_prometheus_finds_nothing_to_complain_of_in_the_metrics_of_a_running_proxy(tmp_path: Path) -> None:
    """Names, types and help texts, after requests, a rollout and a refusal."""
    promtool = require_tool("promtool", package="prometheus")
    async with run_hotswap(listeners() + command_pool(tmp_path, "faulty.plain"), tmp_path) as hotswap:
        (await hotswap.fetch("/healthz")).expect()
        assert (await hotswap.rollout())["outcome"] == "done"
        assert (await hotswap.admin.reload("web", wait=False)).status == 202
        assert (await hotswap.admin.reload("web")).status == 409
        metrics = (await hotswap.admin.call("GET", "/metrics")).expect().body
    done = await trio.run_process(
        [promtool, "check", "metrics"], stdin=metrics, capture_stdout=True, capture_stderr=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert b"hotswap_rollout_refusals_total{" in metrics


def test_every_alert_is_shown_to_fire() -> None:
    """At one moment of its own test it must be there; promtool says whether it is."""
    alerts = re.findall(r"- alert: (\w+)", (CONF / "prometheus" / "alerts.yml").read_text())
    tests = (CONF / "prometheus" / "alerts_test.yml").read_text()
    fired = re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n", tests)
    assert set(fired) == set(alerts)
