"""Where a group stands in a partition: taking, finishing out of order, and going on where somebody else stopped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from prognode.adapters.kafka_standing import Standing
from prognode.ports import Event


def event(number: int) -> Event:
    return Event("thing", "case", {"number": number}, id=f"id-{number}")


def filled(count: int, committed: int = 0) -> Standing:
    standing = Standing(committed)
    for offset in range(committed, committed + count):
        standing.add(offset, event(offset), "", offset)
    return standing


def all_that_is_left(standing: Standing, end: int, begin: int = 0) -> list[int]:
    """Offsets that a new owner of the partition would be given, who reads the log from its ``first_wanted``."""
    offset, metadata = standing.commit()
    assert len(metadata) < 4000
    successor = Standing.restore(offset, metadata)
    for number in range(max(begin, successor.first_wanted), end):
        successor.add(number, event(number), "", number)
    left = []
    while (one := successor.oldest(0.0)) is not None:
        successor.take(one, until=1.0)
        left.append(one.offset)
    return left


@given(st.sets(st.integers(0, 149)), st.integers(0, 2000))
def test_a_successor_is_given_exactly_what_is_not_finished(finished, committed):
    """Whatever is finished in whatever order, commit and metadata say it all."""
    standing = filled(150, committed)
    for offset in finished:
        standing.finish(committed + offset)
    wanted = [committed + offset for offset in range(150) if offset not in finished]
    assert all_that_is_left(standing, committed + 150) == wanted


@given(st.lists(st.sets(st.integers(0, 29)), max_size=5))
def test_the_standing_survives_any_number_of_owners(rounds):
    """Each owner finishes some and hands over; nothing is lost and nothing comes back."""
    finished: set[int] = set()
    standing = filled(30)
    for some in rounds:
        for offset in some:
            standing.finish(offset)
        finished |= some
        offset, metadata = standing.commit()
        standing = Standing.restore(offset, metadata)
        for number in range(standing.first_wanted, 30):
            standing.add(number, event(number), "", number)
    assert all_that_is_left(standing, 30) == [offset for offset in range(30) if offset not in finished]


def test_the_same_statement_twice_is_given_once():
    """A second record with the same id is finished as it comes, also when the first is finished and committed."""
    standing = filled(3)
    standing.add(3, event(1), "", 3)
    for offset in range(3):
        standing.finish(offset)
    assert standing.oldest(0.0) is None
    assert standing.commit()[0] == 4
    successor = Standing.restore(*standing.commit())
    for number in range(successor.first_wanted, 3):
        successor.add(number, event(number), "", number)
    successor.add(4, event(2), "", 4)
    assert successor.oldest(0.0) is None


def test_leases_that_ended_are_counted_also_by_a_successor():
    """Taken and never heard of again: once by a lease that ended, once by an owner that died."""
    standing = filled(1)
    standing.take(standing.oldest(0.0), until=1.0)
    assert standing.oldest(0.5) is None
    standing.take(standing.oldest(2.0), until=3.0)
    successor = Standing.restore(*standing.commit())
    successor.add(0, event(0), "", 0)
    one = successor.oldest(0.0)
    assert (one.abandoned, one.deliveries) == (2, 2)


def test_a_late_verdict_is_known():
    """The lease of an earlier delivery does not hold."""
    standing = filled(1)
    standing.take(standing.oldest(0.0), until=1.0)
    assert standing.holds(0, 1)
    standing.take(standing.oldest(2.0), until=3.0)
    assert not standing.holds(0, 1)
    assert not standing.hand_back(0, 1, 0.0)
    assert standing.hand_back(0, 2, 9.0)
    assert standing.oldest(8.0) is None
    assert standing.oldest(9.0) is not None


def test_metadata_of_somebody_else_are_passed_over():
    """Offsets that another program committed count as they are."""
    standing = Standing.restore(7, "written by a person")
    assert (standing.committed, standing.finished_beyond) == (7, 0)
