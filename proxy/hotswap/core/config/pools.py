"""Tables of backends: `[pools.NAME]`, supervised or static, and its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from hotswap.core.config.fields import (
    AUTO,
    Addresses,
    App,
    Buffering,
    Count,
    DirectoryPath,
    Duration,
    FilePath,
    Flag,
    HostName,
    PathPrefix,
    Period,
    PoolSize,
    Positive,
    Program,
    SizeOrNone,
    Statuses,
    Table,
    Target,
)
from hotswap.core.http.sendfile import SendfileRoots, sendfile_roots
from hotswap.core.http.statuses import StatusSet
from hotswap.core.server import ABILITIES, Interface, Server
from hotswap.core.strategy import BackendProtocol, Balance, Listen, OnFailure, Ready, SlotOrder, Strategy


class HealthTable(Table):
    """The health check: one GET from time to time, and how many of them make a verdict."""

    path: Target = "/healthz"
    """What is asked for. With `protocol = "h2c"`, `/grpc.health.v1.Health/Check` is called as gRPC's health
    service."""

    interval: Period = 2.0
    """From the end of one probe to the next; while a backend starts, probes are more frequent at first."""

    timeout: Period = 1.0
    """How long a probe may take, from connect to the end of the response's head."""

    healthy_after: Positive = 1
    """So many passes in a row make a backend healthy."""

    unhealthy_after: Positive = 3
    """So many failures in a row make it unhealthy."""

    expect: Statuses = StatusSet(ranges=((200, 399),))
    """Statuses that pass."""

    host: HostName = ""
    """Host field of the probe; empty: the address of the backend."""


class RolloutTable(Table):
    """How the backends of a pool are replaced."""

    strategy: Strategy = Strategy.DRAIN_FIRST
    """`drain-first`: the old backend drains while its replacement starts; `surge`: the replacement serves
    before the old one drains; `stop-first`: the old process is gone before its replacement is spawned."""

    order: SlotOrder = SlotOrder.RANDOM
    """Which slot comes first."""

    on_failure: OnFailure = OnFailure.LOCK
    """`lock`: the pool refuses reloads until `unlock`; `rollback`: slots already replaced return to the
    release before."""


class CompatibilityTable(Table):
    """The compatibility number: old and new release must agree on it, or the reload is refused. `file` or `command`."""

    file: str = ""
    """File, read in the pool's directory; its first line is the number."""

    command: tuple[str, ...] = ()
    """Program with arguments, run in the pool's directory; the first line of its output is the number."""


class StorageTable(Table):
    """What the app says about the store behind it."""

    shared: Flag = True
    """false: the store admits one process at a time, so rollouts are refused."""


class RecycleTable(Table):
    """When a backend is replaced by a new one of the same release, one at a time and without loss; 0: never."""

    requests: Count = 0
    """When it has served so many requests, up to a fifth more."""

    age: Duration = 0.0
    """When it was started so long ago, up to a fifth longer."""

    memory: SizeOrNone = 0
    """When it and what it has started take so much memory."""


class BalancedTable(Table):
    """What supervised and static pools have in common: choosing a backend, and waiting for one."""

    protocol: BackendProtocol = BackendProtocol.HTTP1
    """What the proxy speaks to the backends."""

    balance: Balance = Balance.LEAST_IN_FLIGHT
    """How a claimable backend is chosen."""

    max_in_flight: Count = 0
    """Exchanges at the same time for each backend; 0: no limit."""

    hold_timeout: Duration = 30.0
    """How long a request may wait for a backend; 503 with Retry-After after that."""

    hold_limit: Count = 1000
    """So many requests may wait at the same time; 503 at once above that."""

    response_timeout: Duration = 60.0
    """How long a backend may take until it begins to answer; 504 after that. "0s": for ever."""

    health: HealthTable = HealthTable()
    """The health check."""

    buffer: Buffering = AUTO
    """Whether requests are whole before a backend is claimed, and responses read at the backend's speed. `auto`: for
    WSGI apps, whose threads would wait for slow clients; not for ASGI, h2c and addresses."""

    spool: SizeOrNone = 1024 * 1024 * 1024
    """Disk for that, above 64 KiB each, in unlinked files of `proxy.state_dir`; when it is used up requests and
    responses are passed on as they come."""

    sendfile: Mapping[PathPrefix, DirectoryPath] = Field(default_factory=dict)
    """Directories, by path prefix, whose files the app may have answered in its place: by `X-Accel-Redirect` with a
    path below a prefix, or by `X-Sendfile` with a path below a directory. Neither field goes on to
    a client, but without `sendfile` to one of `trusted_proxies`, which may be meant."""

    error_pages: FilePath = ""
    """Directory with pages such as 502.html and 503.html, for the proxy's own errors to clients that accept
    text/html. HTML in UTF-8, up to 1 MiB each and 16 MiB together, kept in memory and read again by every reload. For
    a status without one there is a small page of the proxy's own."""

    @property
    def sendfile_roots(self) -> SendfileRoots:
        """The entries of `sendfile` in the order in which they are tried."""
        return sendfile_roots(self.sendfile)

    @property
    def h2c(self) -> bool:
        """Whether its backends are spoken to in HTTP/2, with prior knowledge."""
        return self.protocol is BackendProtocol.H2C

    @property
    def buffers(self) -> bool:
        """Whether bodies wait in the proxy: requests until they are whole, responses until the client takes them."""
        return self.buffer is True


class StaticPoolTable(BalancedTable):
    """Addresses that something else runs."""

    addresses: Addresses
    """Where the backends listen; one slot each. A host name stands for all its addresses, IPv4 and IPv6: it is looked
    up again every minute and when none can be connected to, and the first that works is used."""

    def slots(self, processors: int) -> int:
        """How many slots the pool has, whatever the number of processors."""
        return len(self.addresses)


class SupervisedPoolTable(BalancedTable):
    """Processes that the proxy starts, watches and replaces."""

    server: Server
    """Preset that knows how to start and stop a server, or `command`."""

    app: App = ""
    """What the server imports, `module:attribute`; needed by every preset."""

    interface: Interface = Interface.ASGI
    """How server and app speak to each other. Default: what the server speaks first (gunicorn, waitress:
    `wsgi`; the others: `asgi`)."""

    args: tuple[str, ...] = ()
    """Arguments after the preset's own."""

    command: tuple[str, ...] = ()
    """With `server = "command"`: program and arguments. {fd} {socket} {host} {port} {slot} {generation} are
    replaced."""

    python: Program = ""
    """Interpreter of the app; empty: the proxy's own."""

    directory: FilePath = Field(default=".", validate_default=True)
    """Where backends run. Symbolic links are resolved once for each rollout; default: where the file is."""

    environment: Mapping[str, str] = Field(default_factory=dict)
    """Variables for the backends, on top of the proxy's own."""

    environment_file: FilePath = ""
    """File with more of them, one NAME=VALUE a line, read at each rollout; `environment` wins."""

    size: PoolSize = 2
    """How many backends, or `auto`: one less than there are processors, at least 2."""

    listen: Listen = Listen.FD
    """Kind of socket a backend is given. Default: the best its server can do (granian, waitress: `unix`; the
    others: `fd`)."""

    ready: Ready = Ready.HEALTH
    """`health`: the health check passes; `notify`: `READY=1` arrived, and then the health check passes."""

    start_timeout: Period = 30.0
    """From spawn to healthy."""

    drain_timeout: Duration = 30.0
    """From draining to nothing in flight; what is left then is cut."""

    stop_timeout: Duration = 30.0
    """From the stop signal to SIGKILL of the process group."""

    rollout: RolloutTable = RolloutTable()
    """How backends are replaced."""

    compatibility: CompatibilityTable | None = None
    """The magic number; without this table there is none."""

    storage: StorageTable = StorageTable()
    """What the app says about its store."""

    recycle: RecycleTable = RecycleTable()
    """When backends are replaced although nothing was deployed."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_what_the_server_does_best(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("server") not in list(Server):  # no set: it may be a list
            return data
        abilities = ABILITIES[Server(data["server"])]
        filled: dict[str, object] = {"listen": abilities.listens[0]}
        if abilities.interfaces:
            filled["interface"] = abilities.interfaces[0]
        return {**filled, **data}

    @property
    def buffers(self) -> bool:
        if self.buffer != AUTO:
            return self.buffer
        return self.interface is Interface.WSGI and self.server is not Server.COMMAND and not self.h2c

    def slots(self, processors: int) -> int:
        """How many slots the pool has.

        Args:
            processors: how many of them this process may use; matters for "auto" only.
        """
        return max(2, processors - 1) if self.size == AUTO else self.size


SUPERVISED: Literal["supervised"] = "supervised"
STATIC: Literal["static"] = "static"


def _kind(data: object) -> str:
    """Tell a pool's kind from its keys: `addresses` without `server` is static, all else is supervised."""
    if isinstance(data, StaticPoolTable):
        return STATIC
    return STATIC if isinstance(data, dict) and "addresses" in data and "server" not in data else SUPERVISED


PoolTable = SupervisedPoolTable | StaticPoolTable

PoolField = Annotated[
    Annotated[SupervisedPoolTable, Tag(SUPERVISED)] | Annotated[StaticPoolTable, Tag(STATIC)],
    Discriminator(_kind),
]
