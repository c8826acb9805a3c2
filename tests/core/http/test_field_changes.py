"""Fields that a route sets or removes."""

from __future__ import annotations

import pytest

from hotswap.core.http.field_changes import FieldChanges, find_wrong_fields, write_hsts
from hotswap.core.http.messages import Field, ResponseHead


def changed(headers: dict[str, str], *fields: Field) -> tuple[Field, ...]:
    """The fields of a response after the changes."""
    head = ResponseHead()
    head.fields = fields
    FieldChanges(headers).apply(head)
    return head.fields


def test_a_field_is_set_whatever_the_app_says_and_however_it_is_spelt() -> None:
    """All lines of it are replaced by one."""
    assert changed(
        {"X-Frame-Options": " DENY "}, (b"x-frame-options", b"a"), (b"A", b"b"), (b"X-FRAME-OPTIONS", b"c")
    ) == (
        (b"A", b"b"),
        (b"X-Frame-Options", b"DENY"),
    )


def test_an_empty_value_removes_the_field() -> None:
    """And nothing of that name is left."""
    assert changed({"server": ""}, (b"Server", b"app/1.0"), (b"A", b"b"), (b"Server", b"x")) == ((b"A", b"b"),)


def test_a_cookie_is_added_to_those_of_the_app() -> None:
    """The app's session goes on; an empty value removes them all."""
    own = (b"Set-Cookie", b"session=1")
    assert changed({"Set-Cookie": "seen=1"}, own) == (own, (b"Set-Cookie", b"seen=1"))
    assert changed({"Set-Cookie": ""}, own) == ()


def test_a_field_of_which_ours_is_the_beginning_stays() -> None:
    """Names are compared as a whole."""
    assert changed({"X": "1"}, (b"X-Y", b"2")) == ((b"X-Y", b"2"), (b"X", b"1"))


@pytest.mark.parametrize("name", ["", "a b", "a:b", "é", "X\n", "a\r\nb"])
def test_a_name_is_a_token(name: str) -> None:
    """RFC 9110 5.6.2."""
    assert [wrong for wrong, _ in find_wrong_fields({name: "x"})] == [name]


@pytest.mark.parametrize(
    "name",
    [
        *("Content-Length", "content-length", "Transfer-Encoding", "Connection", "Keep-Alive", "Upgrade", "TE"),
        *("Trailer", "Proxy-Connection"),
    ],
)
def test_framing_is_nobodys_to_set(name: str) -> None:
    """Nor to remove."""
    assert [wrong for wrong, _ in find_wrong_fields({name: "x"})] == [name]
    assert [wrong for wrong, _ in find_wrong_fields({name: ""})] == [name]


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\0b", "\x7f"])
def test_a_value_stays_in_its_line(value: str) -> None:
    """RFC 9110 5.5."""
    assert [wrong for wrong, _ in find_wrong_fields({"X-A": value})] == ["X-A"]


def test_the_same_field_twice_is_a_mistake() -> None:
    """Names differ by more than case; right ones are not found."""
    assert [wrong for wrong, _ in find_wrong_fields({"X-A": "1", "x-a": "2"})] == ["x-a"]
    assert list(find_wrong_fields({"X-A": "1", "Content-Security-Policy": "default-src 'self'; img-src *"})) == []


def test_hsts_is_in_whole_seconds() -> None:
    """And nothing for none (RFC 6797 6.1.1)."""
    assert write_hsts(365 * 86400.0) == b"Strict-Transport-Security: max-age=31536000\r\n"
    assert write_hsts(0.0) == b""
