"""What is said of a configuration that is right and will disappoint all the same."""

from __future__ import annotations

import os
import re
import resource
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog.testing
from structlog.typing import FilteringBoundLogger

from hotswap.control.configuration.cautions import (
    find_cautions,
    find_expiring,
    find_pinned_release,
    read_certificates,
    tell_cautions,
)
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


def loaded(tmp_path: Path, text: str) -> Configuration:
    """A configuration of this text."""
    path = tmp_path / "hotswap.toml"
    path.write_text('[proxy]\nuser = "nobody"\n' + text, encoding="utf-8")
    return load_configuration(path)


PUBLIC = '[listeners.public]\nbind = ["127.0.0.1:0"]\n[[routes]]\npool = "web"\n'
WEB = '[pools.web]\nserver = "command"\ncommand = ["serve"]\n'


def test_a_pool_that_no_route_names_is_told(tmp_path: Path):
    """Its backends run for nothing."""
    unused = '[pools.spare]\naddresses = ["127.0.0.1:1"]\n'
    (told,) = find_cautions(loaded(tmp_path, PUBLIC + WEB + unused))
    assert told.startswith("pools.spare: no route names this pool")


LISTENER = '[listeners.public]\nbind = ["127.0.0.1:0"]\n'
SITE = '[[routes]]\npool = "web"\nhosts = ["a.test"]\n'
ANY = '[[routes]]\npool = "web"\n'
SHADOWED = {
    SITE + ANY + 'path = "/api/"\n': "routes[1] (/api/)",
    ANY + 'path = "/a/b"\n' + SITE + 'path = "/a"\n': "routes[0] (/a/b)",
    ANY + 'path = "/ab"\n' + SITE + 'path = "/a"\n': "",
    ANY + SITE + ANY + 'path = "/api"\n': "",
    ANY + 'path = "/api"\n[[routes]]\nredirect = "https://a.test"\nhosts = ["www.a.test"]\n': "",
}
"""Routes, and the one that is told."""


@pytest.mark.parametrize("routes", SHADOWED)
def test_a_route_that_another_with_hosts_keeps_requests_from_is_told(tmp_path: Path, routes: str):
    """Unless routes without hosts have every path, so that hosts are exceptions."""
    told = list(find_cautions(loaded(tmp_path, LISTENER + routes + WEB)))
    assert [one.partition(" is for")[0] for one in told] == ([SHADOWED[routes]] if SHADOWED[routes] else [])


REFUSING = {
    "size = 1": "pool-too-small",
    'size = 1\nrollout = { strategy = "stop-first" }': "pool-too-small",
    "storage = { shared = false }": "storage-exclusive",
    'storage = { shared = false }\nsize = 1\nrollout = { strategy = "surge" }': "storage-exclusive",
    'size = 1\nrollout = { strategy = "surge" }': "",
    'size = "auto"': "",
    "size = 2": "",
}


@pytest.mark.parametrize("keys", REFUSING)
def test_a_pool_that_refuses_every_reload_is_told(tmp_path: Path, keys: str):
    """With the code of the refusal; those that can be rolled give no cause."""
    told = list(find_cautions(loaded(tmp_path, PUBLIC + WEB + keys + "\n")))
    assert [code in caution for caution in told for code in [REFUSING[keys]]] == ([True] if REFUSING[keys] else [])


@pytest.mark.parametrize(
    ("address", "public"), [("0.0.0.0:0", True), ("[::]:0", True), ("127.0.0.1:0", False), ("localhost:0", False)]
)
def test_a_development_certificate_for_others_is_told(tmp_path: Path, address: str, public: bool):
    """Where others can connect, and only there."""
    text = PUBLIC.replace("127.0.0.1:0", address).replace("[[routes]]", 'tls = { self_signed = ["a"] }\n[[routes]]')
    told = list(find_cautions(loaded(tmp_path, text + WEB)))
    assert ["self_signed" in caution for caution in told] == [True] * public


@pytest.mark.parametrize(
    ("days", "words"), [(-1, "has expired"), (0.5, "ends in 0 days"), (13.5, "ends in 13 days"), (15, None)]
)
def test_a_certificate_that_ends_soon_is_told(tmp_path: Path, days: float, words: str | None):
    """Two weeks before, when whatever renews it should have done so; by its path and its end."""
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=400)
    issued = Names(tmp_path)
    leaf = issued.authority.issue_cert("a.example", not_after=end)
    for path, pem in ((tmp_path / "a.pem", leaf.cert_chain_pems[0]), (tmp_path / "a.key", leaf.private_key_pem)):
        pem.write_to_path(path)
    config = configuration(tmp_path, key=tmp_path / "a.key")
    told = list(find_expiring(read_certificates(config), end - timedelta(days=days)))
    assert len(told) == (words is not None)
    assert all(f"{tmp_path}/a.pem {words}" in caution for caution in told)


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


def test_a_state_directory_in_a_release_is_told_with_a_better_place(tmp_path: Path) -> None:
    """It is followed, and there is nothing left to say."""
    (tmp_path / "releases" / "1").mkdir(parents=True)
    (tmp_path / "current").symlink_to("releases/1")
    for place in ("current", "releases/1"):
        config = configuration(tmp_path / place)
        cautions = [told for told in find_cautions(config) if told.startswith("proxy.state_dir")]
        assert len(cautions) == (place == "current")
    (told,) = find_cautions(configuration(tmp_path / "current"))
    (advice,) = re.findall(r'set (state_dir = ".*") in', told)
    assert advice == f'state_dir = "{tmp_path}/.hotswap"'
    path = tmp_path / "current" / "hotswap.toml"
    path.write_text(path.read_text().replace('state_dir = "state"', advice))
    assert list(find_cautions(load_configuration(path))) == []


def test_a_configuration_that_is_named_by_its_release_is_told_with_the_link(tmp_path: Path) -> None:
    """As it is for whoever stands in `current` and has no name for that, such as a service; elsewhere there is none."""
    (tmp_path / "releases" / "1" / "app").mkdir(parents=True)
    for folder in ("", "app"):
        path = tmp_path / "releases" / "1" / folder / "hotswap.toml"
        assert list(find_pinned_release(path)) == []
    for place in (tmp_path, tmp_path / "releases"):
        (place / "current").symlink_to(tmp_path / "releases" / "1")
        for folder in ("", "app"):
            path = tmp_path / "releases" / "1" / folder / "hotswap.toml"
            through = place / "current" / folder / "hotswap.toml"
            (told,) = find_pinned_release(path)
            assert told.startswith(f"{path} is what every reload reads")
            assert told.endswith(f"start with {through}")
            assert list(find_pinned_release(through)) == []
        (place / "current").unlink()
