"""Imports of a start: without garbage collection, and without what the packages we use import for others."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Final

Contents = Mapping[str, Callable[..., object]]


def bases(*names: str) -> Contents:
    """Give classes of these names, for classes that are made of them and never used."""
    return {name: type(name, (), {}) for name in names}


UNUSED: Final[dict[str, Contents | None]] = {
    # structlog colours tracebacks with the one and logs for the other where they are installed.
    "rich": None,
    "twisted": None,
    # structlog has loggers for asyncio; this is trio.
    "asyncio": {},
    # pydantic looks for plugins in all that is installed: those of an app beside it are not for the proxy.
    "importlib.metadata": {"entry_points": lambda **_: ()},
    # prometheus_client can serve and push; here the admin API is asked.
    "http.server": bases("BaseHTTPRequestHandler"),
    "urllib.request": bases(
        "BaseHandler", "HTTPHandler", "HTTPRedirectHandler", "HTTPSHandler", "Request", "build_opener"
    ),
    "wsgiref.simple_server": bases("WSGIRequestHandler", "WSGIServer", "make_server"),
}
"""Modules that the proxy's packages import and the proxy does not use: missing, or with what is asked of them."""


@contextmanager
def loading() -> Iterator[None]:
    """Make the imports of the block without garbage collection, and exempt what they made from it for good.

    To look for garbage in it would be a sixth of a start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def leaving_out(modules: Mapping[str, Contents | None]) -> Iterator[None]:
    """Have the imports of the block do without some modules: each is missing, or stood in for by what is given.

    What was imported before stays; after the block all of them can be imported.
    """
    absent = {name: contents for name, contents in modules.items() if name not in sys.modules}
    for name, contents in absent.items():
        # What is None is not found.
        sys.modules[name] = None if contents is None else StandIn(name, contents)  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in absent:
            if isinstance(sys.modules.get(name), StandIn | None):
                sys.modules.pop(name, None)


class StandIn(ModuleType):
    """A module that is imported as soon as anything but what is given here is asked of it.

    A package has it as its attribute, as what is imported.
    """

    def __init__(self, name: str, contents: Contents) -> None:
        super().__init__(name)
        vars(self).update(contents)
        package, _, last = name.rpartition(".")
        if package:
            setattr(import_module(package), last, self)

    def __getattr__(self, attribute: str) -> object:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), attribute)
