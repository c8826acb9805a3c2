"""What is measured: the table of cases."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.h2load import H2loadLoad
from tests.bench.handshake import HandshakeLoad
from tests.bench.idle import IdleLoad
from tests.bench.origin import LARGE_FILE, SMALL_FILE
from tests.bench.proxies.peer import ProxyName
from tests.bench.proxies.setup import STATIC_FILE
from tests.bench.rollout import RolloutLoad
from tests.bench.transfer import DownloadLoad, UploadLoad
from tests.bench.websocket import EchoLoad
from tests.bench.wrk import WrkLoad

Load = WrkLoad | H2loadLoad | DownloadLoad | UploadLoad | EchoLoad | HandshakeLoad | IdleLoad | RolloutLoad


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the comparison.

    Attributes:
        name: as in ``--case``.
        title: as in tables and charts.
        load: what the client does.
        demo: in front of the demo app on uvicorn instead of nginx.
        direct: measure the origin without a proxy too.
        static: a file that the proxy answers by itself; the peers are those that are configured for it.
        together: the proxy shares the processor of client and origin. With one connection nothing overlaps,
            and waking an idle virtual processor takes so long that it would hide what the proxy does.
    """

    name: str
    title: str
    load: Load
    demo: bool = False
    direct: bool = False
    static: bool = False
    together: bool = False

    def compares(self, name: ProxyName) -> bool:
        """Whether there is something to measure on ``name``."""
        match name:
            case ProxyName.HOTSWAP:
                return True
            case ProxyName.HYPERCORN:
                return isinstance(self.load, H2loadLoad)
            case _ if self.static:
                return name is ProxyName.NGINX
            case _:
                return not isinstance(self.load, RolloutLoad)

    @property
    def fresh(self) -> bool:
        """Whether each round needs a proxy that did nothing before: freed memory hides what is taken."""
        return self.demo or isinstance(self.load, IdleLoad | RolloutLoad)


_DOWNLOAD_1M = DownloadLoad(path=f"/files/{SMALL_FILE}", file=SMALL_FILE, connections=4)
_DOWNLOAD_100M = DownloadLoad(path=f"/files/{LARGE_FILE}", file=LARGE_FILE)
_UPLOAD_100M = UploadLoad(path="/stream/upload", file=LARGE_FILE)
_IDLE = IdleLoad(connections=10_000, busy=WrkLoad(connections=32))
_ROLLOUT = RolloutLoad(busy=WrkLoad(connections=32, pause_ms=30))

CASES = (
    Case(name="get-1", title="small GET, 1 connection", load=WrkLoad(connections=1), direct=True, together=True),
    Case(name="get-32", title="small GET, 32 connections", load=WrkLoad(connections=32)),
    Case(name="get-512", title="small GET, 512 connections", load=WrkLoad(connections=512)),
    Case(name="get-close", title="one connection a request", load=WrkLoad(connections=32, close=True)),
    Case(name="post-4k", title="4 KiB POST, 32 connections", load=WrkLoad(connections=32, post_bytes=4096)),
    Case(name="tls-get", title="small GET over TLS, 32 connections", load=WrkLoad(connections=32, tls=True)),
    Case(name="tls-handshake", title="full TLS handshakes", load=HandshakeLoad(connections=8)),
    Case(
        name="h2-get",
        title="small GET over HTTP/2 and TLS, 16 streams",
        load=H2loadLoad(connections=1, streams=16),
    ),
    Case(
        name="static-20k",
        title="20 KiB file, 32 connections",
        load=WrkLoad(path=f"/static/{STATIC_FILE}", connections=32),
        static=True,
    ),
    Case(name="download-1m", title="1 MiB download, 4 connections", load=_DOWNLOAD_1M),
    Case(name="download-100m", title="100 MiB download", load=_DOWNLOAD_100M),
    Case(name="upload-100m", title="100 MiB upload", load=_UPLOAD_100M),
    Case(
        name="websocket",
        title="WebSocket echo, 16 connections",
        load=EchoLoad(path="/stream/echo", connections=16),
    ),
    Case(name="idle-10k", title="10,000 idle connections, 32 work", load=_IDLE),
    Case(name="demo-get", title="demo app on uvicorn, 32 connections", load=WrkLoad(connections=32), demo=True),
    Case(name="rollout", title="small GET while rollouts run", load=_ROLLOUT),
)


def find_case(name: str) -> Case:
    """Return the case called ``name``.

    Raises:
        KeyError: there is none.
    """
    return {case.name: case for case in CASES}[name]
