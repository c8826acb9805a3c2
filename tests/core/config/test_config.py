"""The configuration as text: what is read, and what is said about every mistake."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.address import TcpAddress, UnixAddress
from hotswap.core.config import (
    Configuration,
    StaticPoolTable,
    SupervisedPoolTable,
    configuration_schema,
    parse_draft,
)
from hotswap.core.errors import MISSING, ConfigError, Problem
from hotswap.core.server import ABILITIES, Interface, Server
from hotswap.core.socket_permissions import SocketPermissions
from hotswap.core.strategy import Balance, Listen, OnFailure, Ready, SlotOrder, Strategy

ORIGIN = "/etc/hotswap/hotswap.toml"
LISTENER = '[listeners.public]\nbind = ["127.0.0.1:8000"]\n'
ROUTE = '[[routes]]\npool = "web"\n'
POOL = '[pools.web]\nserver = "uvicorn"\napp = "shop.asgi:app"\n'
LEAST = LISTENER + ROUTE + POOL


def parse(text: str) -> Configuration:
    return parse_draft(text, origin=ORIGIN).accept()


def problems(text: str) -> dict[str, Problem]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    paths = [problem.path for problem in caught.value.problems]
    assert len(paths) == len(set(paths)), "one problem a key"
    return {problem.path: problem for problem in caught.value.problems}


def problems_or_none(text: str) -> list[Problem] | None:
    try:
        parse(text)
    except ConfigError as error:
        return list(error.problems)
    return None


def supervised(text: str) -> SupervisedPoolTable:
    pool = parse(text).pools["web"]
    assert isinstance(pool, SupervisedPoolTable)
    return pool


class TestWhatIsRead:
    """Values, defaults and paths."""

    def test_the_least_file_has_the_defaults_of_the_contract(self):
        """Four lines are enough, and every default is the one users are promised."""
        configuration = parse(LEAST)
        assert (configuration.admin.bind, configuration.admin.group) == ((), "")
        assert (configuration.proxy.log_level, configuration.proxy.log_format) == ("info", "auto")
        assert (configuration.proxy.access_log, configuration.proxy.shutdown_timeout) == ("-", 30.0)
        listener = configuration.listeners["public"]
        assert (listener.http2, listener.proxy_protocol, listener.tls, listener.redirect) == (
            True,
            False,
            None,
            None,
        )
        limits = listener.limits
        assert (limits.header_bytes, limits.headers, limits.body_bytes) == (65536, 100, None)
        assert (limits.header_timeout, limits.idle_timeout, limits.connections) == (10.0, 75.0, 10000)
        pool = supervised(LEAST)
        assert (pool.size, pool.listen, pool.ready) == (2, Listen.FD, Ready.HEALTH)
        assert (pool.start_timeout, pool.drain_timeout, pool.stop_timeout) == (30.0, 30.0, 30.0)
        assert (pool.balance, pool.max_in_flight) == (Balance.LEAST_IN_FLIGHT, 0)
        assert (pool.hold_timeout, pool.hold_limit) == (30.0, 1000)
        assert (pool.health.path, pool.health.interval, pool.health.timeout) == ("/healthz", 2.0, 1.0)
        assert (pool.health.healthy_after, pool.health.unhealthy_after) == (1, 3)
        assert 200 in pool.health.expect
        assert 400 not in pool.health.expect
        assert (pool.rollout.strategy, pool.rollout.order, pool.rollout.on_failure) == (
            Strategy.DRAIN_FIRST,
            SlotOrder.RANDOM,
            OnFailure.LOCK,
        )
        assert pool.compatibility is None
        assert pool.storage.shared

    def test_every_key_of_the_contract_is_read(self):
        """The example that users are shown, whole."""
        configuration = parse(CONTRACT_EXAMPLE)
        assert configuration.proxy.state_dir == "/run/hotswap"
        public = configuration.listeners["public"]
        assert public.bind == (TcpAddress("0.0.0.0", 8443), TcpAddress("::", 8443))
        assert public.trusted_proxies == (ip_network("10.0.0.0/8"),)
        assert public.tls is not None
        assert public.tls.certificates[0].cert == "/etc/hotswap/a.pem"
        redirect = configuration.listeners["bounce"].redirect
        assert redirect is not None
        assert (redirect.scheme, redirect.port, redirect.status) == ("https", 8443, 301)
        web, legacy = configuration.pools["web"], configuration.pools["legacy"]
        assert isinstance(web, SupervisedPoolTable)
        assert web.environment == {"DATABASE_URL": "…"}
        assert web.compatibility is not None
        assert web.compatibility.file == "RESTART_EPOCH"
        assert isinstance(legacy, StaticPoolTable)
        assert legacy.addresses == (TcpAddress("10.0.0.5", 8000), UnixAddress("/run/legacy.sock"))

    def test_relative_paths_start_at_the_file(self):
        """Wherever hotswap is started, the same file means the same paths."""
        text = LEAST + 'directory = "./releases/current"\nenvironment_file = "web.env"\npython = "venv/bin/python"\n'
        pool = supervised(text)
        assert pool.directory == "/etc/hotswap/releases/current"
        assert pool.environment_file == "/etc/hotswap/web.env"
        assert pool.python == "/etc/hotswap/venv/bin/python"

    def test_a_pool_runs_where_the_file_is_unless_told_otherwise(self):
        """The default of `directory` is a path like every other."""
        assert supervised(LEAST).directory == "/etc/hotswap"

    def test_names_and_words_are_not_taken_for_paths(self):
        """A program is looked up in PATH, and `-` stays standard output."""
        assert supervised(LEAST + 'python = "python3.12"\n').python == "python3.12"
        assert parse('proxy.access_log = "off"\n' + LEAST).proxy.access_log == "off"

    @pytest.mark.parametrize("server", [server for server in Server if server is not Server.COMMAND])
    def test_a_preset_has_the_defaults_of_what_its_server_does_best(self, server):
        """`listen` and `interface` follow the server, unless the file says them."""
        pool = supervised(LEAST.replace("uvicorn", server))
        abilities = ABILITIES[server]
        assert (pool.listen, pool.interface) == (abilities.listens[0], abilities.interfaces[0])
        assert supervised(LEAST.replace("uvicorn", server) + 'listen = "tcp"\n').listen == Listen.TCP

    @pytest.mark.parametrize("server", ["gunicorn", "waitress"])
    def test_the_wsgi_servers_speak_wsgi_first(self, server):
        """As the contract says of gunicorn and waitress."""
        assert supervised(LEAST.replace("uvicorn", server)).interface == Interface.WSGI

    @pytest.mark.parametrize(("processors", "slots"), [(1, 2), (2, 2), (3, 2), (4, 3), (64, 63)])
    def test_size_auto_leaves_one_processor_and_is_at_least_two(self, processors, slots):
        """Two, because one backend alone cannot be replaced under `drain-first` without a gap."""
        assert supervised(LEAST + 'size = "auto"\n').slots(processors) == slots

    def test_a_static_pool_has_a_slot_for_each_address(self):
        """Whatever the number of processors."""
        text = LISTENER + ROUTE + '[pools.web]\naddresses = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]\n'
        assert parse(text).pools["web"].slots(64) == 3

    def test_unlimited_bodies_are_no_limit(self):
        """The word in the file is None in the program, and a size is a number."""
        text = LEAST + "[listeners.public.limits]\nbody_bytes = "
        assert parse(text + '"unlimited"').listeners["public"].limits.body_bytes is None
        assert parse(text + '"10MiB"').listeners["public"].limits.body_bytes == 10 * 1024 * 1024

    def test_hosts_are_lower_case_without_a_trailing_dot(self):
        """As they are compared with what clients send."""
        text = LISTENER + POOL + '[[routes]]\nhosts = ["Example.ORG.", "*.example.org"]\npool = "web"\n'
        assert parse(text).routes[0].hosts == ("example.org", "*.example.org")

    def test_pools_that_mean_the_same_are_equal(self):
        """A reload rolls what has changed, and writing a default out is no change."""
        written_out = (
            LEAST + 'size = 2\nlisten = "fd"\nhold_timeout = "0.5m"\n[pools.web.health]\ninterval = "2000ms"\n'
        )
        assert parse(LEAST).pools["web"] == parse(written_out).pools["web"]
        assert parse(LEAST).pools["web"] != parse(LEAST + "size = 3\n").pools["web"]

    def test_a_configuration_cannot_be_changed(self):
        """What was read is what runs, until the next file is read."""
        with pytest.raises(ValueError, match="frozen"):
            parse(LEAST).proxy.log_level = "debug"  # type: ignore[misc, assignment]

    def test_what_is_read_can_be_written_and_read_again(self):
        """The JSON form of a configuration has the words of the file, so it means the same."""
        configuration = parse(CONTRACT_EXAMPLE)
        dumped = configuration.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        assert Configuration.model_validate(dumped) == configuration


class TestAllProblemsAtOnce:
    """One run of `check` is enough to repair a file."""

    def test_problems_of_all_kinds_come_together_in_the_order_of_the_file(self):
        """Wrong types, unknown keys and contradictions in one list."""
        found = problems(
            """
            [proxy]
            shutdown_timeout = 30
            [listeners.public]
            bind = ["127.0.0.1:8000"]
            http2 = "yes"
            [listeners.other]
            bind = ["127.0.0.1:8000"]
            [[routes]]
            pool = "web"
            [[routes]]
            path = "/api"
            pool = "wbe"
            [pools.web]
            server = "granian"
            listen = "fd"
            drain_timeot = "3s"
            [pools.web.health]
            interval = "2"
            """
        )
        assert list(found) == [
            "proxy.shutdown_timeout",
            "listeners.public.http2",
            "listeners.other.bind[0]",
            "routes[1].pool",
            "pools.web.app",
            "pools.web.listen",
            "pools.web.drain_timeot",
            "pools.web.health.interval",
        ]
        assert [problem.line for problem in found.values()] == [3, 6, 8, 13, 14, 16, 17, 19]
        assert {problem.file for problem in found.values()} == {ORIGIN}

    def test_an_empty_file_is_told_what_it_needs(self):
        """Not a proxy that runs and does nothing."""
        found = problems("")
        assert found["listeners"].value is MISSING
        assert "[listeners.public]" in found["listeners"].allowed

    def test_what_is_not_toml_is_shown_with_its_line(self):
        """The one mistake that hides all others."""
        found = problems('[proxy]\nlog_level = info\nuser = ""\n')
        assert list(found) == ["line"]
        assert str(found["line"]) == f'{ORIGIN}:2: line must be TOML, is log_level = info; write log_level = "info"'

    def test_tables_too_deep_for_the_parser_are_told(self):
        """And not shown as a traceback."""
        assert "too deep" in problems("a = " + "[" * 100_000)["line"].allowed

    @pytest.mark.parametrize("number", ["1" * 5000, "0x" + "1" * 100_000])
    def test_a_number_with_very_many_digits_is_told(self, number):
        """The interpreter itself refuses to write some of them out."""
        assert all(str(problem) for problem in problems(f"size = {number}\n").values())

    @given(st.text(alphabet=st.characters(codec="utf-8"), max_size=80))
    def test_no_text_gets_anything_but_a_configuration_or_problems(self, text):
        """Whatever is in the file, the answer is never a traceback."""
        assert problems_or_none(text) != []

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        ),
        st.data(),
    )
    def test_any_value_at_any_key_is_a_problem_or_fine(self, value, data):
        """No type of value at the wrong place goes beyond a problem with a path."""
        document = tomllib.loads(CONTRACT_EXAMPLE)
        place = data.draw(st.sampled_from(sorted(places(document), key=repr)))
        parent: Any = document
        for part in place[:-1]:
            parent = parent[part]
        parent[place[-1]] = value
        text = to_toml(document)
        if text is None:
            return
        found = problems_or_none(text)
        assert found is None or all(problem.path and problem.allowed for problem in found)


@pytest.mark.parametrize("value", [-1, 1.5, True, "", "x", [], ["x"], [[1]], {}, {"a": 1}], ids=repr)
def test_a_value_of_any_type_at_any_key_is_told_in_one_form(value):
    """FILE:LINE: KEY must be WHAT, is VALUE; the line is that of the key, and nothing ends in a traceback."""
    example = tomllib.loads(CONTRACT_EXAMPLE.replace("…", "postgres"))
    for place in places(example):
        document = copy.deepcopy(example)
        parent: Any = document
        for part in place[:-1]:
            parent = parent[part]
        parent[place[-1]] = value
        text = to_toml(document)
        assert text is not None
        lines = text.split("\n")
        for problem in problems_or_none(text) or ():
            assert re.fullmatch(rf"{ORIGIN}:\d+: \S+ must be [^;]+, is .+", str(problem)), str(problem)
            assert (
                problem.value is MISSING or problem.path.partition(".")[0].partition("[")[0] in lines[problem.line - 1]
            )


def places(value: object) -> list[tuple[str | int, ...]]:
    pairs: list[tuple[str | int, object]] = []
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    return [place for key, inner in pairs for place in [(key,), *((key, *below) for below in places(inner))]]


def to_toml(value: object) -> str | None:
    """Write a document with inline tables only; None for what TOML cannot say."""
    if not isinstance(value, Mapping):
        return None
    lines = []
    for key, inner in value.items():
        text = _inline(inner)
        if text is None:
            return None
        lines.append(f"{_quoted(key)} = {text}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return json.dumps(text).replace("\x7f", "\\u007f")


def _inline(value: object) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value) if "e" not in repr(value) else None
        case str():
            return _quoted(value) if value.isprintable() and value.isascii() else None
        case list():
            inner = [_inline(item) for item in value]
            return None if None in inner else f"[{', '.join(map(str, inner))}]"
        case Mapping():
            pairs = [(_quoted(key), _inline(item)) for key, item in value.items() if key.isprintable()]
            return None if None in dict(pairs).values() else f"{{{', '.join(f'{k} = {v}' for k, v in pairs)}}}"
    return None


RULED = "[[routes]]\npath = '/x'\n"

ONE_MISTAKE = [
    # (what is appended to, or replaced in, the least file; path; part of what is allowed)
    ("[proxy]\nlog_level = 'inof'\n", "proxy.log_level", 'did you mean "info"'),
    ("[proxy]\nshutdown_timeout = 30\n", "proxy.shutdown_timeout", 'such as "500ms"'),
    ("[proxy]\nshutdown_timeout = '30'\n", "proxy.shutdown_timeout", "no unit"),
    ("[prox]\nuser = ''\n", "prox", "spelt proxy"),
    ("[admin]\nbind = ['0.0.0.0:9900']\n", "admin.bind[0]", "admin.token_file"),
    ("[admin]\nbind = '127.0.0.1:9900'\n", "admin.bind", "a list"),
    ("[listeners.public.limits]\nheader_bytes = '64KB'\n", "listeners.public.limits.header_bytes", '"64KiB"'),
    ("[listeners.public.limits]\nbody_bytes = 'none'\n", "listeners.public.limits.body_bytes", '"unlimited"'),
    ("[listeners.public.limits]\nheaders = 0\n", "listeners.public.limits.headers", "1 or more"),
    ("[listeners.public.limits]\nheaders = true\n", "listeners.public.limits.headers", "a whole number"),
    ("[listeners.public.limits]\nheader_timeout = '0s'\n", "listeners.public.limits.header_timeout", "more than zero"),
    ("[listeners.public.tls]\n", "listeners.public.tls.certificates", "either certificates or self_signed"),
    (
        "[listeners.public.tls]\nself_signed = ['localhost']\ncertificates = [{ cert = 'a', key = 'b' }]\n",
        "listeners.public.tls.self_signed",
        "left out where certificates is given",
    ),
    (
        "[listeners.public.tls]\ncertificates = [{ cert = 'a' }]\n",
        "listeners.public.tls.certificates[0].key",
        "given; file with the private key, not encrypted: add key = ",
    ),
    ("[listeners.public.tls]\nself_signed = ['a b']\n", "listeners.public.tls.self_signed[0]", "an IP address"),
    (
        "[listeners.public.tls]\nself_signed = ['localhost']\nminimum_version = '1.1'\n",
        "listeners.public.tls.minimum_version",
        'one of "1.2", "1.3"',
    ),
    ("[listeners.b]\nbind = ['0.0.0.0:8000']\n", "listeners.b.bind[0]", "listeners.public listens there"),
    ("[listeners.b]\nbind = ['localhost:8000']\n", "listeners.b.bind[0]", "listeners.public listens there"),
    (
        "[admin]\nbind = ['127.0.0.1:9900']\n[listeners.b]\nbind = ['127.0.0.1:9900']\n",
        "listeners.b.bind[0]",
        "admin listens",
    ),
    ("[listeners.b]\nbind = ['unix:a', 'unix:./a']\n", "listeners.b.bind[1]", "listens there"),
    ("[listeners.b]\nbind = ['unix:a', { path = 'a' }]\n", "listeners.b.bind[1]", "listens there"),
    ("[listeners.b]\nbind = [{ path = 'unix:a', mode = 660 }]\n", "listeners.b.bind[0].mode", 'write "0660"'),
    ("[listeners.b]\nbind = [{ path = 'unix:a', mode = 0o640 }]\n", "listeners.b.bind[0].mode", 'write "0640"'),
    ("[listeners.b]\nbind = [{ path = 'unix:a', mode = '0o600' }]\n", "listeners.b.bind[0].mode", 'write "0600"'),
    ("[listeners.b]\nbind = [{ path = 'unix:a', mode = '4755' }]\n", "listeners.b.bind[0].mode", "permission bits"),
    ("[listeners.b]\nbind = [{ path = 'unix:a', mode = 'rw-' }]\n", "listeners.b.bind[0].mode", "permission bits"),
    ("[listeners.b]\nbind = [{ path = 'unix:a', owner = true }]\n", "listeners.b.bind[0].owner", "a name or a number"),
    ("[listeners.b]\nbind = [{ path = '[::]:80', mode = '0600' }]\n", "listeners.b.bind[0].path", "a port has neither"),
    ("[listeners.b]\nbind = [{ mode = '0600' }]\n", "listeners.b.bind[0].path", "given; where it is"),
    ("[listeners.b]\nbind = [{ path = '' }]\n", "listeners.b.bind[0].path", "the path of a Unix socket"),
    ("[listeners.b]\nbind = [{ path = 'a', grup = 'a' }]\n", "listeners.b.bind[0].grup", "spelt group"),
    ("[listeners.b]\nbind = [{ path = 'a', user = 'a' }]\n", "listeners.b.bind[0].user", "it is called owner"),
    ("[listeners.b]\nbind = [{ path = '" + "x" * 108 + "' }]\n", "listeners.b.bind[0].path", "107 bytes"),
    ("[listeners.b]\nbind = { path = 'a' }\n", "listeners.b.bind", "around the table"),
    ("[listeners.b]\nbind = ['unix:a']\nmode = '0660'\n", "listeners.b.mode", "in the entry of its socket"),
    ("[listeners.b]\nbind = ['localhost']\n", "listeners.b.bind[0]", '"HOST:PORT"'),
    ("[listeners.b]\nbind = ['unix:" + "x" * 108 + "']\n", "listeners.b.bind[0]", "107 bytes"),
    ("[listeners.'a b']\nbind = ['127.0.0.1:0']\n", 'listeners."a b"', "letters, digits"),
    ("[listeners.b]\n", "listeners.b.bind", 'add bind = ["127.0.0.1:8000"]'),
    (
        "[listeners.b]\nbind = ['[::1]:1']\ntrusted_proxies = ['10.0.0.1/8']\n",
        "listeners.b.trusted_proxies[0]",
        '"10.0.0.0/8"',
    ),
    ("[listeners.b]\nbind = ['[::1]:1']\ntrusted_proxies = ['any']\n", "listeners.b.trusted_proxies[0]", "a network"),
    (
        "[listeners.b]\nbind = ['[::1]:1']\ntls.self_signed = ['a']\nredirect = { port = 2 }\n",
        "listeners.b.redirect",
        "in a listener without tls",
    ),
    ("[listeners.b]\nbind = ['[::1]:1']\nredirect = { scheme = 'http', port = 1 }\n", "listeners.b.redirect", "itself"),
    ("[listeners.b]\nbind = ['[::1]:1']\nredirect = { status = 200 }\n", "listeners.b.redirect.status", "301"),
    ("[listeners.b]\nbind = ['[::1]:1']\nredirect = { port = 0 }\n", "listeners.b.redirect.port", "1 or more"),
    ("[[routes]]\npath = '/x'\npool = 'wbe'\n", "routes[1].pool", 'there is "web": write "web"'),
    ("[[routes]]\npath = '/x'\n", "routes[1].pool", "given; name of the pool that answers: add pool = "),
    ("[[routes]]\npath = 'x'\npool = 'web'\n", "routes[1].path", 'begins with "/"'),
    ("[[routes]]\npool = 'web'\n", "routes[1].path", "routes[0] has the same"),
    ("[[routes]]\nhosts = ['http://a']\npool = 'web'\n", "routes[1].hosts[0]", 'write "a"'),
    ("[[routes]]\nhosts = ['a.org:80']\npool = 'web'\n", "routes[1].hosts[0]", 'write "a.org"'),
    ("[[routes]]\nhosts = ['bücher.example']\npool = 'web'\n", "routes[1].hosts[0]", "xn--"),
    ("[[routes]]\nhosts = ['a.*.org']\npool = 'web'\n", "routes[1].hosts[0]", "*.example.org"),
    (f"{RULED}pool = 'web'\nrate = '10r/s'\n", "routes[1].rate", 'write "10/s"'),
    (f"{RULED}pool = 'web'\nrate = '100 per minute'\n", "routes[1].rate", 'write "100/m"'),
    (f"{RULED}pool = 'web'\nrate = 10\n", "routes[1].rate", 'write "10/s"'),
    (f"{RULED}pool = 'web'\nrate = 'often'\n", "routes[1].rate", 'such as "10/s", "100/m" or "1000/h"'),
    (f"{RULED}pool = 'web'\nburst = 5\n", "routes[1].burst", "left out without rate"),
    (f"{RULED}pool = 'web'\nallow = ['10.0.0.1/8']\n", "routes[1].allow[0]", 'write "10.0.0.0/8"'),
    (f"{RULED}pool = 'web'\ndeny = ['localhost']\n", "routes[1].deny[0]", "a network such as"),
    (f"{RULED}pool = 'web'\nlimit_req = 'x'\n", "routes[1].limit_req", "it is called rate"),
    (f"{RULED}pool = 'web'\nauth_basic = 'x'\n", "routes[1].auth_basic", "it is called basic_auth"),
    (f"{RULED}pool = 'web'\nallow_ips = []\n", "routes[1].allow_ips", "it is called allow"),
    (f"{RULED}pool = 'web'\nblacklist = []\n", "routes[1].blacklist", "it is called deny"),
    (f"{RULED}return = '301'\nredirect = 'https://a.org'\n", "routes[1].return", "it is called redirect"),
    (f"{RULED}redirect = 'https://a.org/b'\n", "routes[1].redirect", 'write "https://a.org"'),
    (f"{RULED}redirect = 'https://A.org$request_uri'\n", "routes[1].redirect", 'write "https://a.org"'),
    (f"{RULED}redirect = 'a.org'\n", "routes[1].redirect", "scheme and host to go to"),
    (f"{RULED}redirect = 'http://a.org'\n", "routes[1].redirect", "leads back to its own route"),
    (f"{RULED}redirect = 'http://a.org:8000'\n", "routes[1].redirect", "leads back to its own route"),
    (f"{RULED}hosts = ['*.a.org']\nredirect = 'http://b.a.org'\n", "routes[1].redirect", "leads back to its own route"),
    *(
        (
            f"{RULED}redirect = 'https://a.org'\n{line}\n",
            f"routes[1].{line.split()[0]}",
            "left out where redirect is given",
        )
        for line in (
            "pool = 'web'",
            "strip_prefix = true",
            "allow = ['10.0.0.0/8']",
            "deny = ['10.0.0.0/8']",
            "rate = '1/s'",
            "burst = 1",
            "basic_auth = 'users'",
            "body_bytes = '1KiB'",
        )
    ),
    ("[pools.web.health]\nexpect = 200\n", "pools.web.health.expect", '"200-399"'),
    ("[pools.web.health]\npath = 'healthz'\n", "pools.web.health.path", 'begins with "/"'),
    ("[pools.web.health]\nhost = 'a b'\n", "pools.web.health.host", "a host as it stands in a request"),
    ('[pools.web.environment]\nA = "x\\u0000y"\n', "pools.web.environment.A", "without the character NUL"),
    ("[proxy]\naccess_log = ''\n", "proxy.access_log", "the path of a file"),
    ("[pools.web.health]\ndrain_timeout = '3s'\n", "pools.web.health.drain_timeout", "in [pools.web], above"),
    ("[pools.web.rollout]\nstrategy = 'drainfirst'\n", "pools.web.rollout.strategy", 'did you mean "drain-first"'),
    ("[pools.web.compatibility]\n", "pools.web.compatibility.file", "either file or command"),
    ("[pools.web.compatibility]\nfile = '/etc/x'\n", "pools.web.compatibility.file", "inside the pool's directory"),
    ("[pools.web.storage]\nshared = 'no'\n", "pools.web.storage.shared", "true or false"),
    ("[pools.web.environment]\nLISTEN_FDS = '1'\n", "pools.web.environment.LISTEN_FDS", "sets this variable itself"),
    ("[pools.web.environment]\n'A=B' = '1'\n", 'pools.web.environment."A=B"', "without ="),
    ("[pools.web.environment]\nPORT = 80\n", "pools.web.environment.PORT", "a string in quotes"),
    ("size = '2'\n", "pools.web.size", 'or "auto"'),
    ("size = 0\n", "pools.web.size", "from 1 to 1000"),
    ("size = true\n", "pools.web.size", "from 1 to 1000"),
    ("interval = '2s'\n", "pools.web.interval", "in [pools.web.health]"),
    ("strategy = 'surge'\n", "pools.web.strategy", "in [pools.web.rollout]"),
    ("frobnicate = 1\n", "pools.web.frobnicate", "left out; [pools.web] has no key of this name"),
    ("health = 1\n", "pools.web.health", 'a table; write { path = "/healthz" }'),
    ("interface = 'rsgi'\n", "pools.web.interface", 'one of "asgi", "wsgi"'),
    ("command = ['x']\n", "pools.web.command", "belong into args"),
    ("addresses = ['10.0.0.1:80']\n", "pools.web.addresses", "either addresses"),
    ("start_timeout = '0s'\n", "pools.web.start_timeout", "more than zero"),
    ("max_in_flight = -1\n", "pools.web.max_in_flight", "0 or more"),
    ("protocol = 'http2'\n", "pools.web.protocol", '"http1", "h2c"'),
    ("[pools.x]\naddresses = ['10.0.0.1:80']\nsize = 2\n", "pools.x.size", "only a supervised pool"),
    ("[pools.x]\naddresses = []\n", "pools.x.addresses", "at least one"),
    ("[pools.x]\n", "pools.x.server", "given; preset"),
    ("[pools.x]\nserver = 'uvicron'\napp = 'a:b'\n", "pools.x.server", 'did you mean "uvicorn"'),
    ("[pools.x]\nserver = 'uvicorn'\n", "pools.x.app", 'add app = "shop.asgi:app"'),
    ("[pools.x]\nserver = 'uvicorn'\napp = 'shop.asgi'\n", "pools.x.app", '"module:attribute"'),
    ("[pools.x]\nserver = 'command'\n", "pools.x.command", "add command = ["),
    ("[pools.x]\nserver = 'command'\ncommand = 'run me'\n", "pools.x.command", "a list"),
    ("[pools.x]\nserver = 'command'\ncommand = ['x']\napp = 'a:b'\n", "pools.x.app", "yours to write into command"),
    ("[pools.x]\nserver = 'command'\ncommand = ['x', '{socket}']\n", "pools.x.command[1]", 'listen = "unix"'),
    ("[pools.x]\nserver = 'granian'\napp = 'a:b'\nlisten = 'fd'\n", "pools.x.listen", '"unix" or "tcp"'),
    ("[pools.x]\nserver = 'daphne'\napp = 'a:b'\ninterface = 'wsgi'\n", "pools.x.interface", '"asgi" with server'),
]


@pytest.mark.parametrize(
    ("more", "path", "allowed"), ONE_MISTAKE, ids=[f"{n}-{case[1]}" for n, case in enumerate(ONE_MISTAKE)]
)
def test_one_mistake_is_one_problem_with_its_path_and_a_way_out(more, path, allowed):
    """Nothing else is reported besides it, so that nobody repairs what is right."""
    found = problems(LEAST + more)
    assert list(found) == [path]
    assert allowed in found[path].allowed


@pytest.mark.parametrize(
    "more",
    [
        "[pools.x]\nserver = 'command'\ncommand = ['x']\napp = ''\nargs = []\npython = ''\n",
        "[listeners.b]\nbind = ['[::]:8000']\n",
        "[listeners.b]\nbind = ['127.0.0.2:8000']\n",
        "[listeners.b]\nbind = ['127.0.0.1:0', '127.0.0.1:0']\n",
        "[admin]\nbind = ['0.0.0.0:9900']\ntoken_file = 'token'\n",
        "[admin]\nbind = ['unix:admin.sock', 'localhost:9900', '[::1]:9900']\n",
        "[[routes]]\nhosts = ['a.org']\npool = 'web'\n",
        "[pools.x]\nserver = 'command'\ncommand = ['x', '{port}']\nlisten = 'tcp'\n",
        "[listeners.b]\nbind = ['[::1]:1']\nredirect = {}\n",
        f"{RULED}redirect = 'https://a.org'\n",
        f"{RULED}redirect = 'http://a.org:8001'\n",
        f"{RULED}hosts = ['www.a.org']\nredirect = 'http://a.org'\n",
        f"{RULED}hosts = ['*.a.org']\nredirect = 'http://a.org'\n",
        f"{RULED}redirect = 'http://a.org'\n[[routes]]\nhosts = ['a.org']\npool = 'web'\n",
        f"{RULED}hosts = ['*.a.org']\nredirect = 'http://b.a.org'\n[[routes]]\nhosts = ['b.a.org']\npool = 'web'\n",
        f"{RULED}redirect = 'http://[::1]'\n[[routes]]\nhosts = ['[::1]']\npool = 'web'\n",
    ],
)
def test_what_only_looks_like_a_conflict_is_accepted(more):
    """Other families, other addresses, other hosts, and ports that the kernel chooses."""
    parse(LEAST + more)


def test_a_file_with_bounce_listeners_only_needs_no_route():
    """They answer everything themselves."""
    assert parse('[listeners.b]\nbind = ["127.0.0.1:80"]\nredirect = {}\n').routes == ()


def test_a_listener_without_routes_is_a_problem():
    """It could only ever answer 404."""
    assert list(problems(LISTENER + POOL)) == ["routes"]


def test_no_problem_shows_words_of_the_validation_library():
    """Messages speak of TOML and of hotswap."""
    for more, _, _ in ONE_MISTAKE:
        for problem in problems(LEAST + more).values():
            assert not re.search(r"Input should|Extra inputs|pydantic|tuple|\bdict\b|NoneType", problem.allowed)


@pytest.mark.parametrize(
    "more",
    ["[admin]\ntoken = 'hunter2'\n", "[pools.web.environment]\nDB_PASSWORD = 8888\nAPI_SECRET = 'hunter2\\u0000'\n"],
)
def test_what_is_called_a_secret_is_not_shown(more):
    """Messages go to logs and to whoever reads the events."""
    for problem in problems(LEAST + more.replace("'hunter2\\u0000'", '"hunter2\\u0000"')).values():
        assert "hunter2" not in str(problem)
        assert "8888" not in str(problem)


class TestSchema:
    """What editors complete from."""

    def test_the_schema_describes_every_key(self):
        """Each has a description, which is also the text of the reference."""
        schema = configuration_schema()
        tables = [schema, *schema["$defs"].values()]
        keys = [(table["title"], key, value) for table in tables for key, value in table.get("properties", {}).items()]
        assert len(keys) > 60
        assert [(title, key) for title, key, value in keys if not value.get("description")] == []

    def test_defaults_of_the_schema_are_written_as_in_the_file(self):
        """A default can be copied into TOML."""
        pool = configuration_schema()["$defs"]["SupervisedPoolTable"]["properties"]
        assert pool["drain_timeout"]["default"] == "30s"
        assert pool["drain_timeout"]["type"] == "string"
        assert configuration_schema()["$defs"]["HealthTable"]["properties"]["expect"]["default"] == "200-399"

    def test_the_schema_is_json(self):
        """It can be printed as it is."""
        json.dumps(configuration_schema())


def test_every_example_is_read():
    """Nobody starts from a file that is wrong; what the disk says of it is tested with the loader."""
    files = sorted((Path(__file__).parents[3] / "conf").glob("**/*.toml"))
    assert files
    for file in files:
        parse_draft(file.read_text(encoding="utf-8"), origin=str(file)).accept()


CONTRACT_EXAMPLE = """
[proxy]
state_dir = "/run/hotswap"
log_level = "info"
log_format = "auto"
access_log = "-"
shutdown_timeout = "30s"
user = ""

[admin]
bind = ["127.0.0.1:9900"]
token_file = ""

[listeners.public]
bind = ["0.0.0.0:8443", "[::]:8443"]
http2 = true
proxy_protocol = false
trusted_proxies = ["10.0.0.0/8"]
  [listeners.public.tls]
  certificates = [{ cert = "a.pem", key = "a.key" }]
  minimum_version = "1.2"
  [listeners.public.limits]
  header_bytes = "64KiB"
  headers = 100
  body_bytes = "unlimited"
  header_timeout = "10s"
  idle_timeout = "75s"
  connections = 10000

[listeners.bounce]
bind = ["0.0.0.0:8080"]
redirect = { scheme = "https", port = 8443, status = 301 }

[[routes]]
hosts = ["example.org", "*.example.org"]
path = "/"
strip_prefix = false
pool = "web"

[pools.web]
server = "uvicorn"
app = "shop.asgi:app"
interface = "asgi"
args = []
command = []
python = ""
directory = "/srv/shop/current"
environment = { DATABASE_URL = "…" }
environment_file = ""
size = 2
listen = "fd"
ready = "health"
start_timeout = "30s"
drain_timeout = "30s"
stop_timeout = "30s"
balance = "least-in-flight"
max_in_flight = 0
hold_timeout = "30s"
hold_limit = 1000
  [pools.web.health]
  path = "/healthz"
  interval = "2s"
  timeout = "1s"
  healthy_after = 1
  unhealthy_after = 3
  expect = "200-399"
  host = ""
  [pools.web.rollout]
  strategy = "drain-first"
  order = "random"
  on_failure = "lock"
  [pools.web.compatibility]
  file = "RESTART_EPOCH"
  [pools.web.storage]
  shared = true

[pools.legacy]
addresses = ["10.0.0.5:8000", "unix:/run/legacy.sock"]
"""


@pytest.mark.parametrize(
    ("keys", "refused"),
    [
        ("size = 1\nrecycle = { requests = 1000 }", True),
        ('size = 1\nrecycle = { age = "1d" }\nrollout = { strategy = "stop-first" }', True),
        ('size = 1\nrecycle = { requests = 1000 }\nrollout = { strategy = "surge" }', False),
        ('size = 1\nrecycle = { requests = 0, age = "0s", memory = "0B" }', False),
        ('size = 2\nrecycle = { memory = "512MiB" }', False),
        ('recycle = { memory = "512MiB" }\nstorage = { shared = false }', True),
    ],
)
def test_recycling_needs_another_backend_meanwhile(keys: str, refused: bool):
    """With one slot only surge has one, and with a store for one process at a time no strategy has."""
    found = problems_or_none(LEAST + keys)
    assert [problem.path for problem in found or ()] == (["pools.web.recycle"] if refused else [])


@pytest.mark.parametrize(
    "spelling", ["path = 'unix:/run/x'", "path = '/run/x'", "unix = '/run/x'", "address = 'unix:/run/x'"]
)
def test_a_unix_socket_may_say_who_may_connect(spelling: str) -> None:
    """In a table in place of its address."""
    text = f"[listeners.b]\nbind = ['127.0.0.1:0', {{ {spelling}, mode = '660', owner = 33, group = 'www-data' }}]\n"
    table = parse(LEAST + text).listeners["b"]
    assert table.addresses == (TcpAddress("127.0.0.1", 0), UnixAddress("/run/x"))
    assert table.permissions == (None, SocketPermissions(mode=0o660, owner="33", group="www-data"))
    written = table.model_dump(mode="json")["bind"]
    assert written == ["127.0.0.1:0", {"path": "/run/x", "mode": "0660", "owner": "33", "group": "www-data"}]


def test_a_group_of_a_socket_may_connect_to_it() -> None:
    """Without a mode too, which would keep it out; without a group nothing is changed that was not asked for."""
    table = parse(LEAST + "[listeners.b]\nbind = [{ path = 'a', group = 'adm' }, { path = 'b' }]\n").listeners["b"]
    assert table.addresses[0] == UnixAddress("/etc/hotswap/a")
    assert table.permissions == (SocketPermissions(mode=0o660, group="adm"), SocketPermissions())
