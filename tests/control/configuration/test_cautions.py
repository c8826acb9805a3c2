"""What is said of a configuration that is right and will disappoint all the same."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
import structlog.testing
from structlog.typing import FilteringBoundLogger

from hotswap.control.configuration.cautions import find_cautions, tell_cautions
from hotswap.control.configuration.loading import load_configuration
from hotswap.core.config import Configuration
from hotswap.core.room import client_descriptors
from tests.support.certificates import Names
from tests.support.pools import table


def configuration(
    tmp_path: Path, *, connections: int = 10, user: str = "nobody", key: Path | None = None
) -> Configuration:
    """One listener and one pool."""
    listener: dict[str, object] = {"bind": ["127.0.0.1:0"], "limits": {"connections": connections}}
    if key is not None:
        listener["tls"] = {"certificates": [{"cert": str(key.with_suffix(".pem")), "key": str(key)}]}
    path = tmp_path / "hotswap.toml"
    path.write_text(
        table("proxy", {"state_dir": "state", "user": user} if user else {"state_dir": "state"})
        + table("listeners.public", listener)
        + '[[routes]]\npool = "web"\n'
        + table("pools.web", {"addresses": ["127.0.0.1:1"]}),
        encoding="utf-8",
    )
    return load_configuration(path)


def test_a_modest_configuration_gives_no_cause(tmp_path: Path):
    """Nothing is said for nothing."""
    assert list(find_cautions(configuration(tmp_path))) == []


def test_more_connections_than_there_are_descriptors_for_are_told(tmp_path: Path):
    """With both numbers, and what decides the second."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = client_descriptors(hard)
    assert list(find_cautions(configuration(tmp_path, connections=room))) == []
    (told,) = find_cautions(configuration(tmp_path, connections=room + 1))
    for part in (str(room + 1), str(room), str(hard), "LimitNOFILE"):
        assert part in told


@pytest.mark.skipif(os.geteuid() != 0, reason="nobody else can stay root")
def test_a_proxy_that_stays_root_is_told(tmp_path: Path):
    """With the key that changes it."""
    (told,) = find_cautions(configuration(tmp_path, user=""))
    assert "proxy.user" in told


def test_a_key_that_everybody_can_read_is_told(tmp_path: Path):
    """By its path; one that a group can read is none."""
    key = Path(Names(tmp_path).files("a.example")["key"])
    key.chmod(0o640)
    assert list(find_cautions(configuration(tmp_path, key=key))) == []
    key.chmod(0o644)
    (told,) = find_cautions(configuration(tmp_path, key=key))
    assert str(key) in told


def test_the_log_has_what_was_not_said_before(tmp_path: Path):
    """A reload repeats nothing."""
    quiet, loud = configuration(tmp_path), configuration(tmp_path, connections=1_000_000_000)
    log: FilteringBoundLogger = structlog.get_logger()
    with structlog.testing.capture_logs() as records:
        tell_cautions(log, quiet)
        tell_cautions(log, loud)
        tell_cautions(log, loud, before=loud)
        tell_cautions(log, loud, before=quiet)
    assert [(record["event"], record["log_level"]) for record in records] == [("config.caution", "warning")] * 2
