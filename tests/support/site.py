"""A site as somebody has it who runs an example of `conf/instead-of-nginx`: its directories, releases, certificates.

`run_site` runs the example as it is written, but for the addresses that it listens on and the directory that all of it
is in. `Site.visitor` is a client (httpx, a stranger to us) that is led to it as by the name service.
"""

from __future__ import annotations

import os
import re
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import trio

from tests.support.certificates import Names
from tests.support.client import Target
from tests.support.hotswap import REPOSITORY, Hotswap, run_hotswap

EXAMPLES = REPOSITORY / "conf" / "instead-of-nginx"


def write_release(release: Path, files: Mapping[str, str]) -> None:
    """Write the files of a release."""
    for name, text in files.items():
        (release / name).parent.mkdir(parents=True, exist_ok=True)
        (release / name).write_text(text, encoding="utf-8")


def point_current(release: Path) -> None:
    """Have `current`, beside the directory that a release is in, lead to it, in one step."""
    current = release.parents[1] / "current"
    following = current.with_name("following")
    following.symlink_to(release)
    os.replace(following, current)


class Site:
    """A site that is served.

    Attributes:
        hotswap: What serves it.
        host: Its name.
        names: The authority of its certificates, which its visitors trust.
    """

    def __init__(self, hotswap: Hotswap, host: str, names: Names) -> None:
        self.hotswap = hotswap
        self.host = host
        self.names = names

    async def target(self, host: str = "") -> Target:
        """How to reach the listener with TLS."""
        return await self.hotswap.target(tls=self.names.client, host=host or self.host)

    @asynccontextmanager
    async def visitor(
        self, host: str = "", *, listener: str = "public", address: str = "127.0.0.1", http2: bool = True
    ) -> AsyncIterator[httpx.AsyncClient]:
        """A client that asks for this host (default: that of the site), from this address, and follows no redirect."""
        target = await self.hotswap.target(listener)
        assert not isinstance(target.address, Path)
        scheme = "https" if listener == "public" else "http"
        host = host or self.host

        async def name_server(request: httpx.Request) -> None:
            request.extensions["sni_hostname"] = host

        trusting = ssl.create_default_context()  # its own: httpx tells it what to ask for by ALPN
        self.names.authority.configure_trust(trusting)
        transport = httpx.AsyncHTTPTransport(verify=trusting, local_address=address, http2=http2)
        async with httpx.AsyncClient(
            base_url=f"{scheme}://127.0.0.1:{target.address[1]}",
            headers={"Host": host, "Accept-Encoding": "identity"},
            transport=transport,
            event_hooks={"request": [name_server]},
            timeout=30.0,
            trust_env=False,
        ) as client:
            yield client


@asynccontextmanager
async def run_site(
    example: str, home: str, directory: Path, *hosts: str, replaced: Mapping[str, str] | None = None
) -> AsyncIterator[Site]:
    """Run an example for the time of the block.

    Args:
        example: name of the file.
        home: the directory that all of it is in, in the file.
        directory: what is there in its place, with the link `current`.
        hosts: names of the site, the main one first.
        replaced: further texts of the file, and what stands there instead.
    """
    text = (EXAMPLES / example).read_text(encoding="utf-8").replace(home, str(directory))
    text = re.sub(r"^bind = .*$", 'bind = ["127.0.0.1:0"]', text, flags=re.MULTILINE)
    for found, other in (replaced or {}).items():
        assert found in text, found
        text = text.replace(found, other)
    (directory / "tls").mkdir()
    names = Names(directory / "tls")
    names.files(*hosts)
    async with run_hotswap(text, directory) as hotswap:
        yield Site(hotswap, hosts[0], names)


async def collect_static(release: Path, settings: str) -> None:
    """Have a Django project collect its static files."""
    await trio.run_process(
        [sys.executable, "-m", "django", "collectstatic", "--no-input"],
        cwd=release,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": settings, "PYTHONPATH": str(release), "SECRET_KEY": "x"},
        capture_stdout=True,
    )
