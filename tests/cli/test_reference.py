"""The commands have what their reference is written from."""

from __future__ import annotations

import shlex

import click
import pytest

from hotswap.cli.endpoint import Options
from hotswap.cli.examples import EXAMPLES
from hotswap.cli.group import NEAR, VERBS, hotswap, load_verb, nearest_verbs
from tests.support.command_line import run_cli

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


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_has_an_example_that_can_be_typed(verb: str) -> None:
    """Its words are understood as they stand."""
    assert EXAMPLES[verb], verb
    shown = run_cli(verb, "--help").stdout
    for typed, why in EXAMPLES[verb]:
        assert f"    # {why}\n    {typed}\n" in shown
        words = shlex.split(typed.partition(" > ")[0].removeprefix('eval "$(').removesuffix(')"'))
        assert words[:2] == ["hotswap", verb]
        load_verb(verb).make_context(verb, words[2:], obj=Options())


def test_common_options_are_explained_once_and_taken_everywhere() -> None:
    """In the help of the whole command; that of a verb refers to it. They stand before a verb or behind it."""
    whole = run_cli("--help").stdout
    names = ("--admin", "--config", "--token-file")
    assert all(f"  {name} " in whole for name in names)
    for verb in VERBS:
        command, shown = load_verb(verb), run_cli(verb, "--help").stdout
        options = {name for one in command.params for name in one.opts}
        if "--token-file" in options:
            assert not any(f"\n  {name} " in shown for name in names), verb
            assert "--admin, --config and --token-file say which proxy is meant" in " ".join(shown.split())
            assert set(names) <= options
    for words in (("status", "--admin", "unix:/nowhere"), ("--admin", "unix:/nowhere", "status")):
        result = run_cli(*words)
        assert (result.code, "unix:/nowhere" in result.stderr) == (1, True)


def test_the_help_says_what_each_verb_does_whole() -> None:
    """Nothing is cut, at any width."""
    for width in (50, 80, 120):
        shown = hotswap.get_help(click.Context(hotswap, info_name="hotswap", terminal_width=width))
        assert "..." not in shown.replace("[ARGUMENTS]...", "")
        assert [line for line in shown.splitlines() if len(line) > width] == []
        assert all(f"\n  {verb} " in shown for verb in VERBS)


@pytest.mark.parametrize(
    ("word", "verb"),
    [("reloda", "reload"), ("drian", "drain"), ("statsu", "status"), ("Deploy", "reload"), ("logs", "events")],
)
def test_a_word_that_is_no_verb_is_answered_with_the_nearest(word: str, verb: str) -> None:
    """A mistyped one, or that of another program; 2."""
    assert nearest_verbs(word)[0] == verb
    result = run_cli(word, "web")
    assert result.code == 2
    assert f"there is no verb '{word}'; did you mean hotswap {verb}" in result.stderr


def test_help_is_understood_as_a_word() -> None:
    """Of everything, and of a verb; what is none is answered as ever."""
    assert run_cli("help") == run_cli("--help")
    assert run_cli("help", "drain") == run_cli("drain", "--help")
    assert "did you mean hotswap drain" in run_cli("help", "drian").stderr


def test_a_word_that_is_near_to_nothing_is_answered_with_the_help() -> None:
    """No guess is better than a wrong one."""
    result = run_cli("xyzzy")
    assert (result.code, "did you mean" in result.stderr) == (2, False)
    assert "hotswap --help" in result.stderr
    assert set(NEAR.values()) <= set(VERBS)
    assert not set(NEAR) & set(VERBS)


def test_without_a_verb_it_says_what_can_be_done() -> None:
    """The first steps, and every verb; 2."""
    result = run_cli()
    shown = result.stdout + result.stderr
    assert result.code == 2
    assert "hotswap init" in shown
    assert all(f"  {verb} " in shown for verb in VERBS)
    assert hotswap.name == "hotswap"
