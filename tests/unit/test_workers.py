"""Results come in order, whatever happens to the processes."""

from __future__ import annotations

import os

from stages.workers import Crash, ordered_map


def _square_or_die(number: int) -> int:
    if number == 3:
        os._exit(9)  # as a decoder that crashes
    return number * number


def test_a_crash_takes_the_one_item_that_caused_it() -> None:
    results = dict(ordered_map(_square_or_die, range(8), processes=2))
    assert list(results) == list(range(8))
    assert isinstance(results.pop(3), Crash)
    assert results == {number: number * number for number in (0, 1, 2, 4, 5, 6, 7)}
