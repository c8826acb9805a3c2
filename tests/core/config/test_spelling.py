"""Words that are offered in place of misspelt ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.config.spelling import MOST, did_you_mean, nearest

SERVERS = ["uvicorn", "hypercorn", "gunicorn", "granian", "waitress", "daphne", "command"]


@pytest.mark.parametrize(
    ("word", "words", "near"),
    [
        ("uvicron", SERVERS, ["uvicorn"]),
        ("Gunicorn", SERVERS, ["gunicorn"]),
        ("unicorn", SERVERS, ["uvicorn", "gunicorn"]),
        ("apache", SERVERS, []),
        ("nginx", SERVERS, []),
        ("auth", ["path", "hosts"], []),
        ("host", ["path", "hosts"], ["hosts"]),
        ("wbe", ["web", "api"], ["web"]),
        ("drainfirst", ["drain-first", "surge"], ["drain-first"]),
        ("self-signed", ["self_signed"], ["self_signed"]),
        ("xy", ["ab"], []),
        ("x", ["a", "b"], []),
        ("", ["a"], []),
    ],
)
def test_only_words_that_are_near_are_offered(word, words, near):
    """Few letters differ, or nothing is said."""
    assert nearest(word, words) == near


def test_the_question_names_them():
    """Or there is none."""
    assert did_you_mean("unicorn", SERVERS) == '; did you mean "uvicorn" or "gunicorn"?'
    assert did_you_mean("apache", SERVERS) == ""


def test_of_many_near_words_the_first_few_are_offered():
    """A list of everything helps nobody."""
    assert len(nearest("pool", [f"pool{letter}" for letter in "abcdefgh"])) == MOST


@given(st.text(max_size=12), st.lists(st.text(min_size=1, max_size=12), max_size=4))
def test_a_word_that_there_is_comes_first(word, words):
    """Nothing is nearer than itself."""
    if word:
        assert word in nearest(word, [*words, word])


def test_a_word_of_a_megabyte_costs_nothing():
    """It is near nothing, which its length tells."""
    assert nearest("a" * 1_000_000, SERVERS) == []
