"""Servers of supervised pools, and the abilities of each.

Only facts that the configuration is judged by are here; how a server is started is `hotswap.processes.presets`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from hotswap.core.strategy import Listen


class Server(StrEnum):
    """Server program of a supervised pool."""

    UVICORN = "uvicorn"
    HYPERCORN = "hypercorn"
    GUNICORN = "gunicorn"
    GRANIAN = "granian"
    WAITRESS = "waitress"
    DAPHNE = "daphne"
    COMMAND = "command"
    """Not a preset: `command` says what is started."""


class Interface(StrEnum):
    """Interface between server and app."""

    ASGI = "asgi"
    WSGI = "wsgi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """Abilities of a server.

    Attributes:
        interfaces: those it speaks, its own first: the default of `interface`.
        listens: the kinds of listening socket it takes, the best first: the default of `listen`.
    """

    interfaces: tuple[Interface, ...]
    listens: tuple[Listen, ...] = (Listen.FD, Listen.UNIX, Listen.TCP)


ABILITIES: Mapping[Server, Abilities] = MappingProxyType(
    {
        Server.UVICORN: Abilities(interfaces=(Interface.ASGI, Interface.WSGI)),
        Server.HYPERCORN: Abilities(interfaces=(Interface.ASGI, Interface.WSGI)),
        Server.GUNICORN: Abilities(interfaces=(Interface.WSGI, Interface.ASGI)),
        # granian's command line takes no file descriptor (granian#786).
        Server.GRANIAN: Abilities(interfaces=(Interface.ASGI, Interface.WSGI), listens=(Listen.UNIX, Listen.TCP)),
        # Neither does that of waitress.
        Server.WAITRESS: Abilities(interfaces=(Interface.WSGI,), listens=(Listen.UNIX, Listen.TCP)),
        Server.DAPHNE: Abilities(interfaces=(Interface.ASGI,)),
        Server.COMMAND: Abilities(interfaces=()),
    }
)
"""One row a server; measured, see `docs/reference/servers.md`."""


_ENDS = (
    "left out; the server would end by itself, with requests on their way to it; the pool's own recycle loses none: "
    "recycle = { requests = 1000 }, and age or memory"
)
_RELOADS = (
    'left out; the server would restart by itself, with requests on their way to it; a deploy is "hotswap reload"'
)
_LEAVES = "left out; the proxy watches the process that it has started, which has to stay in the foreground"
_PID_FILE = "left out; every slot would write the same file"

REFUSED_ARGUMENTS: Mapping[Server, Mapping[str, str]] = MappingProxyType(
    {
        Server.UVICORN: {"--limit-max-requests": _ENDS, "--reload": _RELOADS},
        Server.HYPERCORN: {"--max-requests": _ENDS, "--reload": _RELOADS, "--pid": _PID_FILE, "-p": _PID_FILE},
        Server.GUNICORN: {
            "--max-requests": _ENDS,
            "--reload": _RELOADS,
            "--daemon": _LEAVES,
            "-D": _LEAVES,
            "--pid": _PID_FILE,
            "-p": _PID_FILE,
        },
        Server.GRANIAN: {
            "--workers-lifetime": _ENDS,
            "--workers-max-rss": _ENDS,
            "--reload": _RELOADS,
            "--pid-file": _PID_FILE,
        },
    }
)
"""Options that a slot cannot have, and why not; by server, those without any left out."""


def refused_argument(server: Server, argument: str) -> str:
    """Give why an argument of a server cannot be; empty when it can."""
    return REFUSED_ARGUMENTS.get(server, {}).get(argument.partition("=")[0], "")
