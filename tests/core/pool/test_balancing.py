"""Choosing a backend from a rotation."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.pool.balancing import balancer, least_in_flight, round_robin
from hotswap.core.strategy import Balance


@dataclass(eq=False)
class Load:
    """Something with a load."""

    in_flight: int


@pytest.mark.parametrize(
    ("loads", "index"),
    [([0], 0), ([5], 0), ([1, 0], 1), ([0, 0], 0), ([2, 2, 2], 0), ([3, 1, 1], 1), ([3, 2, 1], 2)],
)
def test_least_in_flight_takes_the_least_loaded_and_the_first_of_equals(loads, index):
    """First means: chosen longest ago."""
    rotation = [Load(load) for load in loads]
    assert least_in_flight(rotation) is rotation[index]


@given(st.lists(st.integers(0, 9), min_size=1))
def test_least_in_flight_agrees_with_min(loads):
    """The short cut for idle backends changes nothing."""
    rotation = [Load(load) for load in loads]
    assert least_in_flight(rotation) is min(rotation, key=lambda load: load.in_flight)


@given(st.lists(st.integers(0, 9), min_size=1))
def test_round_robin_takes_the_first_however_loaded(loads):
    """The rotation is all its memory."""
    rotation = [Load(load) for load in loads]
    assert round_robin(rotation) is rotation[0]


@pytest.mark.parametrize("balance", Balance)
def test_every_word_of_the_configuration_has_its_function(balance):
    """The names agree."""
    function = balancer(balance)
    assert function.__name__.replace("_", "-") == balance.value
