"""Which failures in a row are worth a line of the log."""

from __future__ import annotations

from hotswap.core.pool.failure_row import KEPT, FailureRow, is_counted


def test_a_reason_is_new_once() -> None:
    """Also when it alternates with another one."""
    row = FailureRow().having("no module").having("no database")
    assert row.knows("no module")
    assert row.knows("no database")
    assert not row.knows("no memory")


def test_what_differs_from_process_to_process_makes_no_new_reason() -> None:
    """Process ids, addresses and times; a status or an errno does."""
    row = FailureRow().having("exited with status 1: <Lock at 0x7f2dd2030b80> of process 29345")
    assert row.knows("exited with status 1: <Lock at 0x7f2dd2030c01> of process 29400")
    assert not row.knows("exited with status 3: <Lock at 0x7f2dd2030c01> of process 29400")


def test_few_reasons_are_kept() -> None:
    """A backend that gives another one each time does not fill the memory; the newest ones are kept."""
    row = FailureRow()
    for number in range(100):
        row = row.having(f"reason {number}")
    assert len(row.reasons) == KEPT
    assert row.knows("reason 99")
    assert not row.knows("reason 1")


def test_failures_are_counted_at_growing_intervals() -> None:
    """A crash loop of a whole night is a handful of lines."""
    assert [failures for failures in range(1, 5000) if is_counted(failures)] == [3, 10, 30, 100, 300, 1000, 3000]
