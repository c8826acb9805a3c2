"""The tree of errors: what each member says of itself."""

from __future__ import annotations

import pytest

from hotswap.core import errors
from hotswap.core.errors import (
    MISSING,
    BadRequest,
    ConfigError,
    ConnectFailed,
    NotFound,
    Problem,
    ProxyError,
    RefusalCode,
    Refused,
    Side,
    StartFailed,
    StartFailure,
    UpstreamBroken,
    UpstreamTimedOut,
    Verbatim,
    problem_text,
    written,
)


def members(kind: type[ProxyError]) -> list[type[ProxyError]]:
    # Those of this module only: which others are loaded depends on what ran before.
    children = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return [kind, *(member for child in children for member in members(child))]


@pytest.mark.parametrize("kind", members(ProxyError), ids=lambda kind: kind.__name__)
def test_every_error_knows_side_retry_and_status(kind):
    """Whoever catches one needs no table of its own."""
    assert kind.side in set(Side)
    assert isinstance(kind.retry_safe, bool)
    assert 400 <= kind.status <= 599


@pytest.mark.parametrize("kind", members(ProxyError), ids=lambda kind: kind.__name__)
def test_every_error_stands_in_the_drawing_of_the_module(kind):
    """The tree in the docstring is the tree in the code."""
    assert kind.__name__ in (errors.__doc__ or "")


def test_refusal_codes_come_in_the_order_of_the_contract():
    """The first that holds is the answer, so the order is part of the meaning."""
    assert [str(code) for code in RefusalCode] == [
        "shutting-down",
        "takeover-in-progress",
        "not-supervised",
        "pool-too-small",
        "storage-exclusive",
        "pool-locked",
        "rollout-in-progress",
        "not-ready",
        "compatibility-mismatch",
        "compatibility-unreadable",
        "config-invalid",
    ]


def test_a_refusal_carries_its_reason_and_the_state_found():
    """So that the answer of the admin API needs nothing else."""
    refused = Refused(RefusalCode.POOL_LOCKED, "pool web is locked", {"locked": "rollout r3 failed"})
    assert (refused.code, refused.status, refused.state) == (
        "pool-locked",
        409,
        {"locked": "rollout r3 failed"},
    )
    assert str(refused) == "pool web is locked"


def test_only_an_exchange_of_which_nothing_was_sent_is_safe_to_retry():
    """A broken exchange may have been processed, unless who reports it knows better."""
    assert ConnectFailed("refused").retry_safe
    assert not UpstreamBroken("reset").retry_safe
    assert UpstreamBroken("stale before use", retry_safe=True).retry_safe
    assert not UpstreamTimedOut("too slow").retry_safe


def test_a_bad_request_has_the_status_of_its_reason():
    """400 unless it is said otherwise."""
    assert (BadRequest("no host").status, BadRequest("too long", status=414).status) == (400, 414)


def test_an_unknown_pool_is_told_which_ones_there_are():
    """A typing error is seen at once."""
    assert str(NotFound("pool", "wbe", ["web", "api"])) == "no pool 'wbe'; there is web, api"
    assert NotFound("pool", "wbe").status == 404


def test_a_failed_start_keeps_the_last_output():
    """The reason is a word for machines, the output is for people."""
    failed = StartFailed(StartFailure.EXITED, "exit code 3", ["ImportError: shop"])
    assert (str(failed.reason), failed.output) == ("exited", ("ImportError: shop",))


def test_a_configuration_error_prints_one_problem_a_line():
    """File and line, path, what is allowed, value, and a way out, as far as each is known."""
    error = ConfigError(
        [
            Problem("routes[1].pool", "wbe", 'the name of a pool; there is "web": write "web"', "/etc/h.toml", 7),
            Problem("pools.web.app", MISSING, "given"),
            Problem("file", Verbatim("a directory"), "a file; name the file in it", "/etc"),
        ]
    )
    assert str(error).splitlines() == [
        '/etc/h.toml:7: routes[1].pool must be the name of a pool, is "wbe"; there is "web": write "web"',
        "pools.web.app must be given, is missing",
        "/etc: file must be a file, is a directory; name the file in it",
    ]


def test_a_problem_of_another_version_is_told_all_the_same():
    """It may have less to say, or be no more than a text."""
    assert problem_text({"path": "a", "value": None, "allowed": "b; c"}) == "a must be b, is missing; c"
    assert problem_text("odd") == "odd"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (3, "3"),
        ('say "hi"\n', '"say \\"hi\\"\\n"'),
        (["a", 1], '["a", 1]'),
        ({"a": False}, "{ a = false }"),
        ({}, "{}"),
        ("x" * 100, '"' + "x" * 56 + "..."),
    ],
)
def test_a_value_is_shown_as_toml_writes_it(value, text):
    """On one line, and cut when it is long."""
    assert written(value) == text
