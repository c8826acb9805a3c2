"""Client of the admin API: one connection a call, standard library only.

An HTTP library would be one more dependency of the proxy for a dozen small calls to a neighbour; what the standard
one lacks is Unix sockets (`hotswap.control.admin.calling`).
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from shlex import quote as quote_word
from typing import Any
from urllib.parse import quote

from hotswap.cli.endpoint import VARIABLE, AdminEndpoint
from hotswap.cli.exits import CommandError, ExitCode
from hotswap.control.admin.calling import connection_to
from hotswap.control.configuration.path import is_same_file
from hotswap.control.telemetry.version import PROGRAM_VERSION
from hotswap.core.address import Address
from hotswap.core.errors import problem_text

AGENT = f"hotswap-cli/{PROGRAM_VERSION}"
"""Tells the proxy that a rollout was triggered by the command line."""

TIMEOUT = 10.0
"""Seconds that an answer may take."""

LONG_TIMEOUT = 120.0
"""The same for reloads: the proxy reads files and runs the compatibility command before it answers."""

STREAM_TIMEOUT = 60.0
"""Seconds of silence on the event stream, which has a heartbeat every fifteen."""

LARGEST_ANSWER = 64 * 1024 * 1024

LONGEST_EVENT = 1024 * 1024

LISTENING = re.compile(rb": listening from event (\d+)")
"""The comment with which the proxy begins a stream of events."""

Json = Any


class ProxyLost(Exception):
    """The proxy does not answer, or not in time, or not in HTTP."""


class Stranger(Exception):
    """What answers is another configuration's proxy: where it is, and which one it has."""

    def __init__(self, where: Address, config: str) -> None:
        super().__init__(f"the proxy at {where} runs {config}")
        self.where = where
        self.config = config


class ProblemAnswer(Exception):
    """The proxy answered with an error: a status, and a document with the rest."""

    def __init__(self, status: int, document: dict[str, Any]) -> None:
        super().__init__(document.get("detail", f"status {status}"))
        self.status = status
        self.code = str(document.get("code", f"status-{status}"))
        self.detail = str(document.get("detail", ""))
        self.state: Mapping[str, Any] = document.get("state") or {}


def _weight(failure: ProxyLost | ProblemAnswer | Stranger) -> int:
    """Order what several addresses gave by how much it says: an answer first, then a closed door, then nothing."""
    if isinstance(failure, ProxyLost):
        return int(isinstance(failure.__cause__, PermissionError))
    return 2


def path_of(*parts: object) -> str:
    """Join the parts of a path, each escaped."""
    return "/" + "/".join(quote(str(part), safe="") for part in parts)


class EventStream:
    """Events as they come, an iterator of JSON objects.

    Attributes:
        newest: number of the newest event when it was opened, to which what is given first belongs; None where the
            proxy does not say.
    """

    def __init__(self, response: http.client.HTTPResponse) -> None:
        """Read what comes before the events: fields and comments, up to an empty line."""
        self.newest: int | None = None
        self._response = response
        while (line := response.readline(LONGEST_EVENT)) not in (b"", b"\n"):
            if found := LISTENING.match(line):
                self.newest = int(found[1])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Give one after the other.

        Raises:
            ProxyLost: the connection broke.
        """
        with _losing():
            while line := self._response.readline(LONGEST_EVENT):
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))


class AdminClient:
    """The calls of the admin API, as plain functions that give JSON."""

    def __init__(self, endpoint: AdminEndpoint, *, timeout: float = TIMEOUT) -> None:
        self.endpoint = endpoint
        self._addresses = endpoint.addresses
        self._timeout = timeout

    def recognise(self) -> None:
        """Find the address at which the proxy of the configuration answers, and use no other from now on.

        Where the proxy was named by its address there is nothing to find.

        Raises:
            Stranger: a proxy of another configuration answers there; it was told nothing.
            ProblemAnswer: one answers, and does not say which configuration it has.
            ProxyLost: none answers.
        """
        wanted = self.endpoint.config
        if wanted is None:
            return
        failures: list[ProxyLost | ProblemAnswer | Stranger] = []
        for address in self.endpoint.addresses:
            self._addresses = (address,)
            try:
                config = str(self.get("/v1/status")["config"])
            except (ProxyLost, ProblemAnswer) as error:
                failures.append(error)
                continue
            if is_same_file(config, wanted):
                return
            failures.append(Stranger(address, config))
        self._addresses = self.endpoint.addresses
        raise max(failures, key=_weight, default=ProxyLost("no address is known"))

    def get(self, path: str) -> Json:
        """Send a GET."""
        return self._call("GET", path, self._timeout)

    def post(self, path: str, *, body: Json | None = None, timeout: float = TIMEOUT) -> Json:
        """Send a POST, with a body or without."""
        return self._call(
            "POST", path, timeout, None if body is None else json.dumps(body, ensure_ascii=False).encode()
        )

    @contextmanager
    def open_events(self, after: int | None) -> Iterator[EventStream]:
        """Subscribe to the proxy's events; the block gets an iterator that ends when the proxy ends the stream.

        Args:
            after: the last number seen, 0 for all that are kept, or None for only new ones.

        Raises:
            ProxyLost: it cannot be reached; from the iterator: the connection broke.
        """
        fields = {} if after is None else {"Last-Event-ID": str(after)}
        with ExitStack() as stack:
            with _losing():
                response = stack.enter_context(self._open("GET", "/v1/events", STREAM_TIMEOUT, fields))
                stream = EventStream(response)
            yield stream

    def _call(self, method: str, path: str, timeout: float, body: bytes | None = None) -> Json:
        with _losing(), self._open(method, path, timeout, {}, body) as response:
            return json.loads(response.read(LARGEST_ANSWER))

    @contextmanager
    def _open(
        self, method: str, path: str, timeout: float, fields: Mapping[str, str], body: bytes | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        headers = {"User-Agent": AGENT, "Connection": "close", **fields}
        if self.endpoint.token is not None:
            headers["Authorization"] = f"Bearer {self.endpoint.token}"
        with closing(self._connect(timeout)) as connection:
            if body is not None:
                headers["Content-Type"] = "application/json"
            connection.request(method, path, body, headers)
            with connection.getresponse() as response:
                if response.status >= 400:
                    raise _problem(response)
                yield response

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        failure: OSError | None = None
        for address in self._addresses:
            connection = connection_to(address, timeout)
            try:
                connection.connect()
            except OSError as error:
                connection.close()
                failure = failure or error
            else:
                return connection
        raise failure or ConnectionRefusedError("no address is known")


@contextmanager
def _losing() -> Iterator[None]:
    """Translate whatever a connection can raise into `ProxyLost`."""
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ProxyLost(_reason(error)) from error


def _problem(response: http.client.HTTPResponse) -> ProblemAnswer:
    try:
        document = json.loads(response.read(LARGEST_ANSWER))
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {"detail": f"what answers there is not a hotswap proxy (status {response.status})"}
    return ProblemAnswer(response.status, document)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def translate(error: ProxyLost | ProblemAnswer | Stranger, endpoint: AdminEndpoint) -> CommandError:
    """Give the error with which a command ends, for what the proxy answered or did not."""
    if isinstance(error, Stranger):
        hints = [f"that proxy is meant by --config {error.config}, and any by --admin URL"]
        if endpoint.source == f"${VARIABLE}":
            hints.insert(0, f"its address is the value of ${VARIABLE}; unset it to find the proxy of {endpoint.config}")
        return CommandError(ExitCode.FAILED, f"{error}, not {endpoint.config}; nothing was done", *hints)
    if isinstance(error, ProxyLost):
        command = "hotswap run CONFIG" if endpoint.config is None else f"hotswap run {quote_word(str(endpoint.config))}"
        hint = f"found by {endpoint.source}; if it is not running, start it: {command}"
        if isinstance(error.__cause__, PermissionError):
            hint = "call this as the user that runs it, or let a group do so by [admin].group"
        return CommandError(ExitCode.FAILED, f"no proxy can be reached at {endpoint.where}: {error}", hint)
    problems = [problem_text(problem) for problem in error.state.get("problems", ())]
    match error.status:
        case 403 if error.code == "not-over-this-address":
            return CommandError(ExitCode.REFUSED, f"refused: {error.code}: {error.detail}")
        case 409:
            return CommandError(ExitCode.REFUSED, f"refused: {error.code}: {error.detail}", *problems)
        case 404 if error.code.startswith("unknown-"):
            return CommandError(ExitCode.USAGE, error.detail)
        case 422:
            return CommandError(ExitCode.USAGE, "\n".join(problems) or error.detail)
        case 401:
            hint = "name its file by --token-file, $HOTSWAP_ADMIN_TOKEN_FILE or [admin].token_file"
            wanted = "the proxy wants a token" if endpoint.token is None else "the proxy wants another token"
            return CommandError(ExitCode.FAILED, f"{error.code}: {wanted}", hint)
        case _:
            return CommandError(ExitCode.FAILED, f"{error.code}: {error.detail}")
