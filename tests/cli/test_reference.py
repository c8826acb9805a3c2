"""The commands have what their reference is written from."""

from __future__ import annotations

import click

from hotswap.cli.group import VERBS, load_verb

CONTRACT = """
run check init status healthcheck reload apply rollouts drain readmit pause resume unlock abort events takeover stop
version schema completion
"""


def test_every_verb_that_was_promised_is_there() -> None:
    """And nothing hidden beside them."""
    assert set(VERBS) == set(CONTRACT.split())


def test_every_verb_and_option_has_a_sentence() -> None:
    """Help is complete."""
    for command in map(load_verb, VERBS):
        assert command.help
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.help
