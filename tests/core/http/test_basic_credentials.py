"""Credentials of RFC 7617: what is taken for some, and what is not."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.http.basic_credentials import LONGEST, BasicCredentials, authorization_of, parse_basic
from hotswap.core.http.messages import RequestHead


def head_with(*lines: bytes) -> RequestHead:
    """A head of these fields."""
    head = RequestHead()
    head.lines = [line + b"\r\n" for line in lines]
    return head


@pytest.mark.parametrize(
    ("value", "user", "password"),
    [
        (b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", b"open sesame"),
        (b"basic  dGVzdDoxMjPCow==", "test", "123£".encode()),
        (b"BASIC " + b64encode("jürgen:a:b:".encode()), "jürgen", b"a:b:"),
        (b"Basic " + b64encode(b":"), "", b""),
    ],
)
def test_credentials_are_a_name_and_a_password(value, user, password):
    """The first colon ends the name; the scheme is of any case. The first two are the examples of RFC 7617."""
    assert parse_basic(value) == BasicCredentials(user, password)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Basic",
        b"Basic ",
        b"Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ",
        b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ== ",
        b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==, Basic QQ==",
        b"Basic QWxh\tZGRpbjpvcGVuIHNlc2FtZQ==",
        b"Basic _-A=",
        b"Basic " + b64encode(b"no colon"),
        b"Basic " + b64encode(b"a:b\0c"),
        b"Basic " + b64encode(b"a\n:b"),
        b"Basic " + b64encode(b"a:b\x7f"),
        b"Basic " + b64encode(b"\xff:b"),
    ],
    ids=range(14),
)
def test_what_is_no_credentials_is_none(value):
    """Another scheme, another alphabet, no colon, control characters, a name in another encoding."""
    assert parse_basic(value) is None


@given(st.binary(max_size=200))
def test_nothing_raises(text):
    """Whatever a client sends; what is found is what was sent."""
    assert parse_basic(text) is None or text[:5].lower() == b"basic"
    found = parse_basic(b"Basic " + b64encode(text))
    assert found is None or found.user.encode() + b":" + found.password == text


def test_the_field_is_found_in_any_case():
    """As the versions of HTTP spell it."""
    assert authorization_of(head_with(b"A: b", b"authorization: Basic x", b"C: d")) == b"Basic x"
    assert authorization_of(head_with(b"AUTHORIZATION: Basic x")) == b"Basic x"


def test_no_field_or_several_or_a_long_one_is_none():
    """Nobody knows which of several a backend would believe."""
    assert authorization_of(head_with(b"Proxy-Authorization: Basic x", b"Authorizatio: x")) is None
    assert authorization_of(head_with(b"Authorization: Basic x", b"authorization: Basic y")) is None
    assert authorization_of(head_with(b"Authorization: " + b"x" * (LONGEST + 1))) is None
