"""What every clock promises, so that a test's clock may stand for the machine's."""

from __future__ import annotations

from datetime import timedelta

import pytest

from prognode.adapters.system_clock import SystemClock


@pytest.fixture(params=[SystemClock])
def clock(request):
    """Each clock."""
    return request.param()


def test_time_is_utc_and_says_so(clock):
    """Times of machines in two zones can be compared."""
    assert clock.now().utcoffset() == timedelta(0)


def test_time_does_not_stand_still_or_run_back(clock):
    """Of two readings the later one is not before the earlier one."""
    first = clock.now()
    assert clock.now() >= first
