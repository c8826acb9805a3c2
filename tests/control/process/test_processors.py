"""Processors of this process, as its control groups allow them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hotswap.control.process.processors import usable_processors


@pytest.mark.parametrize(
    ("files", "number"),
    [
        ({}, None),
        ({"a/b/cpu.max": "max 100000\n"}, None),
        ({"a/b/cpu.max": "50000 100000\n"}, 1),
        ({"a/b/cpu.max": "max 100000\n", "a/cpu.max": "100000 100000\n"}, 1),
        ({"a/b/cpu.max": "not a quota\n"}, None),
        ({"a/b/cpu.max": "100000 0\n"}, None),
        ({"a/b/cpu.max": "90000000 100000\n"}, None),
    ],
)
def test_the_smallest_quota_of_all_groups_above_holds(
    tmp_path: Path, files: dict[str, str], number: int | None
) -> None:
    """What cannot be read limits nothing."""
    (tmp_path / "membership").write_text("0::/a/b\n")
    (tmp_path / "groups/a/b").mkdir(parents=True)
    for name, text in files.items():
        (tmp_path / "groups" / name).write_text(text)
    found = usable_processors(cgroups=tmp_path / "groups", membership=tmp_path / "membership")
    assert found == (number or len(os.sched_getaffinity(0)))


def test_without_control_groups_the_affinity_holds(tmp_path: Path) -> None:
    """As on a machine of the first version."""
    nothing = tmp_path / "nothing"
    assert usable_processors(cgroups=nothing, membership=nothing) == len(os.sched_getaffinity(0))
