"""Fields that are not forwarded as they came."""

from __future__ import annotations

import pytest

from hotswap.core.http.field_names import (
    CONNECTION_FIELDS,
    FILE_FIELDS,
    is_request_special,
    is_response_special,
    may_be_nominated,
    nominated_fields,
    tells_of_client,
)


@pytest.mark.parametrize("name", sorted(CONNECTION_FIELDS))
def test_fields_of_one_connection_are_taken_out_both_ways(name):
    """They bind one hop (P1)."""
    assert is_request_special(name)
    assert is_response_special(name)


@pytest.mark.parametrize(
    "name", [b"forwarded", b"x-hotswap-client", b"x-real-ip", b"x-request-id", b"x-forwarded-for", b"x-forwarded-new"]
)
def test_what_is_told_of_the_client_is_taken_out_of_requests(name):
    """Nobody but trusted peers is believed, and a client has none of it removed (P2, P3)."""
    assert tells_of_client(name)
    assert is_request_special(name)
    assert not is_response_special(name)
    assert not may_be_nominated(name)


@pytest.mark.parametrize("name", sorted(FILE_FIELDS))
def test_what_has_a_file_answered_is_taken_out_of_responses(name):
    """It is said to the proxy, and tells of places on the server."""
    assert is_response_special(name)


@pytest.mark.parametrize("name", [b"proxy", b"x-sendfile-type", b"x-accel-mapping"])
def test_what_would_configure_an_app_is_taken_out_of_requests(name):
    """A client has no say in it, not even one that a trusted peer passes on."""
    assert is_request_special(name)
    assert not tells_of_client(name)


@pytest.mark.parametrize("name", [b"accept", b"x-forward", b"cookie", b"x-sendfiles", b"x-accel"])
def test_others_go_on(name):
    """From end to end."""
    assert not is_request_special(name)
    assert not is_response_special(name)


def test_options_of_a_connection_are_no_fields():
    """All else that it names is."""
    assert nominated_fields((b"close", b"te", b"x-hop")) == {b"x-hop"}
    assert nominated_fields((b"keep-alive", b"upgrade")) == frozenset()
    assert may_be_nominated(b"x-hop")
    assert not may_be_nominated(b"authorization")
