"""The production page, followed literally: by root of a machine with nothing on it, under its own systemd."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.support.hotswap import REPOSITORY
from tests.support.machine import Machine, copy_into, open_machine
from tests.support.reader import open_root
from tests.support.tools import refuse, require_tool
from tests.support.wheels import build, copy_sources, pack_again, with_what_they_need

PAGE = REPOSITORY / "docs" / "how-to" / "production.md"
CONF = REPOSITORY / "conf"
NEXT_VERSION = "99.0"

PIP = """\
[global]
no-index = true
find-links = /srv/wheels
disable-pip-version-check = true

[install]
no-compile = true
"""
"""Nothing is fetched."""


def build_version(version: str, place: Path) -> None:
    """Build a wheel of this checkout into a folder, under another version when one is given."""
    with tempfile.TemporaryDirectory() as folder:
        sources, output = Path(folder, "sources"), Path(folder, "output")
        sources.mkdir()
        copy_sources(sources)
        if version:
            file = sources / "proxy" / "hotswap" / "control" / "telemetry" / "version.py"
            text, found = re.subn(
                'VERSION: Final = ".*"', f'VERSION: Final = "{version}"', file.read_text(encoding="utf-8")
            )
            assert found == 1
            file.write_text(text, encoding="utf-8")
        shutil.move(build(sources, output), place)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A bare Debian, to which the packages that pip is asked for are near, and which trusts an authority."""
    for program, package in (("logrotate", "logrotate"), ("prometheus", "prometheus"), ("openssl", "openssl")):
        require_tool(program, package=package)
    with open_machine() as opened:
        version = opened.run("python3", "-c", "import sys; print(*sys.version_info[:2], sep='.')").strip()
        if version != f"{sys.version_info[0]}.{sys.version_info[1]}":
            refuse(f"packages of the tests are for Python {sys.version_info[0]}.{sys.version_info[1]}, not {version}")
        wheels = tmp_path / "wheels"
        wheels.mkdir()
        pack_again(with_what_they_need(["hotswap", "flask", "gunicorn"]), wheels)
        build_version("", wheels)
        copy_into(opened, wheels, "/srv/wheels")
        (opened.root / "etc" / "pip.conf").write_text(PIP, encoding="utf-8")
        yield opened


def certify(machine: Machine, name: str) -> None:
    """Lay certificates where certbot does, from an authority that the machine is told of."""
    authority = trustme.CA()
    issued = authority.issue_cert(name)
    live = machine.root / "etc" / "letsencrypt" / "live" / name
    live.mkdir(parents=True)
    (live.parents[1] / "renewal-hooks" / "deploy").mkdir(parents=True)
    for blob in issued.cert_chain_pems:
        blob.write_to_path(live / "fullchain.pem", append=True)
    issued.private_key_pem.write_to_path(live / "privkey.pem")
    os.chmod(live, 0o700)
    authority.cert_pem.write_to_path(machine.root / "etc" / "ssl" / "authority.pem")


def left_behind(machine: Machine) -> list[str]:
    """Files and users that speak of hotswap."""
    places = ["/etc", "/opt", "/run", "/srv", "/usr/local", "/var", "/home"]
    named = ["-name", "*hotswap*", "-not", "-path", "/srv/wheels/*", "-not", "-path", "/var/backups/*"]
    found = machine.run("find", *places, "-xdev", *named).splitlines()
    users = [line for line in (machine.root / "etc" / "passwd").read_text().splitlines() if line.startswith("hotswap")]
    return found + users


@pytest.mark.fail_after(240)
async def test_a_bare_machine_becomes_a_served_site_and_bare_again(machine: Machine, tmp_path: Path):
    """Every command of the page does what the page says, up to the last, after which nothing is left."""
    page = PAGE.read_text(encoding="utf-8")
    before, upgrade, after = page.partition("## Upgrade")
    certify(machine, "example.org")
    async with open_root(machine, CURL_CA_BUNDLE="/etc/ssl/authority.pem") as root:
        typed = await root.follow(before)
        newer = tmp_path / "newer"
        newer.mkdir()
        build_version(NEXT_VERSION, newer)
        copy_into(machine, newer, "/srv/wheels")
        typed += await root.follow(upgrade + after)
    assert typed > 40
    assert left_behind(machine) == []


@pytest.mark.parametrize(
    ("place", "file"),
    [
        ("/etc/systemd/system/hotswap.service", "systemd/hotswap.service"),
        ("/etc/systemd/system/hotswap.socket", "systemd/hotswap.socket"),
        ("/etc/prometheus/hotswap-alerts.yml", "prometheus/alerts.yml"),
    ],
)
def test_the_files_of_the_page_are_those_of_the_distribution(place: str, file: str):
    """Letter by letter, so what is verified and hardened there is what the page has its reader write."""
    assert f"# {place}\n{(CONF / file).read_text(encoding='utf-8')}```" in PAGE.read_text(encoding="utf-8")
