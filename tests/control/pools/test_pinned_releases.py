"""Releases by generation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hotswap.control.pools.pinned_releases import PinnedReleases
from hotswap.control.pools.release import Release
from hotswap.core.rollout.compatibility import CompatibilityNumber
from hotswap.processes.presets import recipe
from tests.support.pool_stage import supervised_table


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """What a pool is booted from."""
    table = supervised_table(tmp_path)
    return Release(table=table, directory="/srv/1", environment={}, recipe=recipe(table), compatibility=None)


def test_a_release_is_kept_for_a_rollout_and_comes_into_force_when_that_is_done(release):
    """Until then the one before it is in force."""
    releases = PinnedReleases(release)
    offered = replace(release, directory="/srv/2")
    generation = releases.add(offered)
    assert (generation, releases.newest, releases.generation) == (2, 2, 1)
    assert releases.current is release
    releases.generation = generation
    assert releases.current is offered


def test_what_nothing_is_started_from_any_more_is_forgotten(release):
    """But never what is in force, and no number is given twice."""
    releases = PinnedReleases(release)
    for _ in range(3):
        releases.add(release)
    releases.forget(but={3})
    assert list(releases) == [1, 3]
    assert releases.add(release) == 5


def test_what_is_learned_of_a_release_is_known_wherever_it_is_pinned(release):
    """Others stay as they are."""
    other = replace(release, directory="/srv/2")
    releases = PinnedReleases(release)
    releases.add(other)
    releases.add(release)
    known = replace(release, compatibility=CompatibilityNumber("7"))
    releases.amend(release, known)
    assert dict(releases) == {1: known, 2: other, 3: known}


def test_the_next_process_goes_on_where_the_last_one_stood(release):
    """With its generations and the number after its newest."""
    other = replace(release, directory="/srv/2")
    releases = PinnedReleases(release)
    releases.restore(generation=4, newest=6, releases={4: other})
    assert releases.current is other
    assert releases.add(release) == 7
