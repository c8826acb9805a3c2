"""Access lines say what happened, one line for each exchange, whatever the client sent."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.http.access_log import combined_line, combined_time, json_line, json_time


def line(**changed: object) -> bytes:
    """A line in which everything is said."""
    arguments: dict[str, object] = {
        "time": b"2025-01-02T03:04:05Z",
        "listener": "public",
        "client": b"192.0.2.1",
        "method": b"GET",
        "host": b"example.org",
        "target": b"/notes?page=2",
        "version": 11,
        "status": 200,
        "request_bytes": 0,
        "response_bytes": 1534,
        "duration": 0.0012345,
        "pool": "web",
        "slot": 1,
        "generation": 3,
        "upstream_duration": 0.001,
        "retries": 1,
        "held": 0.25,
        "request_id": b"abc-1",
        "side": "",
        "error": "",
    }
    return json_line(**(arguments | changed))  # type: ignore[arg-type]


def test_a_json_line_has_every_member_in_order() -> None:
    """Durations are milliseconds; the line ends with the only line feed."""
    assert line().endswith(b"}\n")
    assert list(json.loads(line()).items()) == [
        ("time", "2025-01-02T03:04:05Z"),
        ("listener", "public"),
        ("client", "192.0.2.1"),
        ("method", "GET"),
        ("host", "example.org"),
        ("target", "/notes?page=2"),
        ("version", "1.1"),
        ("status", 200),
        ("request_bytes", 0),
        ("response_bytes", 1534),
        ("duration", 1.234),
        ("pool", "web"),
        ("slot", 1),
        ("generation", 3),
        ("upstream_duration", 1.0),
        ("retries", 1),
        ("held", 250.0),
        ("request_id", "abc-1"),
        ("side", ""),
        ("error", ""),
    ]


def test_what_did_not_happen_is_null_or_empty_and_never_missing() -> None:
    """A request that reached no backend has the same members."""
    refused = json_line(
        b"t", "public", b"192.0.2.1", b"", b"", b"", 11, 400, 0, 16, 0.0, side="downstream", error="bad"
    )
    told = json.loads(refused)
    assert list(told) == list(json.loads(line()))
    assert (told["slot"], told["generation"], told["upstream_duration"]) == (None, None, None)
    assert (told["pool"], told["side"], told["error"]) == ("", "downstream", "bad")


@given(
    method=st.binary(max_size=20),
    host=st.binary(max_size=20),
    target=st.binary(max_size=40),
    request_id=st.binary(max_size=20),
    error=st.text(max_size=20),
    client=st.binary(max_size=20),
)
def test_no_client_can_forge_a_line(
    method: bytes, host: bytes, target: bytes, request_id: bytes, error: str, client: bytes
) -> None:
    """Whatever bytes come, it is one line of printable ASCII and one JSON object with the right members."""
    written = line(method=method, host=host, target=target, request_id=request_id, error=error, client=client)
    assert re.fullmatch(rb"[ -~]+\n", written)
    told = json.loads(written)
    assert list(told) == list(json.loads(line()))
    assert told["status"] == 200
    assert told["host"] == host.decode("utf-8", "backslashreplace")


@given(
    method=st.binary(max_size=20),
    target=st.binary(max_size=40),
    referer=st.binary(max_size=40),
    user_agent=st.binary(max_size=40),
    client=st.binary(max_size=20),
)
def test_no_client_can_forge_a_combined_line(
    method: bytes, target: bytes, referer: bytes, user_agent: bytes, client: bytes
) -> None:
    """One line, and no quote but the six that are ours."""
    written = combined_line("t", client, method, target, 11, 200, 5, referer, user_agent)
    assert re.fullmatch(rb"[ -~]+\n", written)
    assert written.count(b'"') == 6


def test_a_combined_line_is_what_other_tools_read() -> None:
    """The format of Apache and nginx, with a dash for what is not known."""
    time = combined_time(1735787045)
    assert time == "02/Jan/2025:03:04:05 +0000"
    written = combined_line(time, b"192.0.2.1", b"GET", b"/a", 10, 200, 5, b"", b'cu"rl')
    assert written == b'192.0.2.1 - - [02/Jan/2025:03:04:05 +0000] "GET /a HTTP/1.0" 200 5 "-" "cu\\x22rl"\n'
    assert b'] "-" 400' in combined_line(time, b"192.0.2.1", b"", b"", 11, 400, 5)


@pytest.mark.parametrize(
    ("target", "logged"),
    [
        (b"/a?token=abc", "/a?token=***"),
        (b"/a?x=1&access_token=abc&y=2", "/a?x=1&access_token=***&y=2"),
        (b"/a?API_KEY=abc", "/a?API_KEY=***"),
        (b"/a?x=1;password=p%20q", "/a?x=1;password=***"),
        (b"/a?client_secret=s&code=c", "/a?client_secret=***&code=***"),
        (b"/a?X-Amz-Signature=s", "/a?X-Amz-Signature=***"),
        (b"/a?tokens=3&passwordless=1&keyboard=us", "/a?tokens=3&passwordless=1&keyboard=us"),
        (b"/token=abc", "/token=abc"),
        (b"/a?oauth_token=s&api_token=s&accessToken=s", "/a?oauth_token=***&api_token=***&accessToken=***"),
        (b"/a?user[password]=s&new_password=s&otp=1", "/a?user[password]=***&new_password=***&otp=***"),
        (b"/a?%74oken=s&user%5Bpassword%5D=s", "/a?%74oken=***&user%5Bpassword%5D=***"),
        (b"/a?token=x=y/z&b=c", "/a?token=***&b=c"),
        (b"/x;JSESSIONID=abc/y;v=1?next=/token=1", "/x;JSESSIONID=***/y;v=1?next=/token=1"),
        (b"/a?author=b&country_code=de&max_tokens=9&spin=1", "/a?author=b&country_code=de&max_tokens=9&spin=1"),
        (b"/a?" + b"n" * 200 + b"=x", "/a?" + "n" * 200 + "=***"),
    ],
)
def test_secrets_of_the_query_are_not_logged(target: bytes, logged: str) -> None:
    """The values of parameters that are credentials by their names; everything else stays."""
    assert json.loads(line(target=target))["target"] == logged
    combined = combined_line("t", b"c", b"GET", target, 11, 200, 0, b"https://example.org" + target)
    assert f'"GET {logged} HTTP/1.1"'.encode() in combined
    assert f'"https://example.org{logged}"'.encode() in combined


def test_times_are_utc() -> None:
    """ISO 8601, whole seconds."""
    assert json_time(1735787045) == b"2025-01-02T03:04:05Z"


def test_the_client_of_a_combined_line_is_one_column() -> None:
    """Whatever a trusted peer passes on; found: a user and a time could be forged."""
    written = combined_line("t", b"6.6.6.6 - admin [01/Jan/2020:00:00:00 +0000]", b"GET", b"/", 11, 200, 5)
    assert re.match(rb"\S+ - - \[t\] \"GET / ", written)


def test_the_user_of_a_combined_line_is_one_column() -> None:
    """Whatever somebody says to be called."""
    written = combined_line("t", b"192.0.2.1", b"GET", b"/", 11, 401, 5, user='j\u00fcrgen "x [1]'.encode())
    assert re.match(rb'192\.0\.2\.1 - j\\xC3\\xBCrgen_\\x22x_\[1\] \[t\] "GET / ', written)
    assert combined_line("t", b"192.0.2.1", b"GET", b"/", 11, 401, 5, user=b"").startswith(b"192.0.2.1 - - [t]")


def test_a_line_has_an_end() -> None:
    """Texts of libraries and of clients are cut; found: 600 KB for a head that could not be read."""
    written = line(error="x" * 600_000, target=b"/" + b"y" * 60_000, host=b"h" * 60_000)
    assert len(written) < 20_000
    assert json.loads(written)["target"].endswith("y...")
    assert (
        len(combined_line("t", b"a", b"GET", b"/" + b"y" * 60_000, 11, 200, 5, b"r" * 60_000, b"u" * 60_000)) < 30_000
    )


@pytest.mark.parametrize("unit", [b"?", b"&a=b", b"&token=", b";", b"&%74", b"=", b"/;a="])
def test_looking_for_secrets_costs_linear_time(unit: bytes) -> None:
    """Of a long query."""
    began = time.thread_time()
    line(target=b"/?" + unit * (64_000 // len(unit)))
    assert time.thread_time() - began < 0.5
