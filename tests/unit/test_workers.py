"""Results come in order, whatever happens to the processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stages.preprocessing.workers import Crash, ordered_map


def _square_or_die(number: int) -> int:
    if number == 3:
        os._exit(9)  # as a decoder that crashes
    return number * number


def test_a_crash_takes_the_one_item_that_caused_it() -> None:
    results = dict(ordered_map(_square_or_die, range(8), processes=2))
    assert list(results) == list(range(8))
    assert isinstance(results.pop(3), Crash)
    assert results == {number: number * number for number in (0, 1, 2, 4, 5, 6, 7)}


def _process_id(number: int) -> int:
    return os.getpid()


def test_this_process_joins_in_and_results_keep_their_order() -> None:
    results = list(ordered_map(_process_id, range(40), processes=1, join_in=True))
    assert [item for item, _ in results] == list(range(40))
    assert results[5][1] == os.getpid()  # the other one takes longer to start than this one for a dozen
    assert os.getpid() not in {process for _, process in ordered_map(_process_id, range(4), processes=1)}


def _die_after_the_first(number: int) -> int:
    if number == 0:
        threading.Timer(0.1, os._exit, (9,)).start()
    return number


def _first_and_then_those_after_its_process() -> Iterator[int]:
    yield 0
    until = time.monotonic() + 60
    while multiprocessing.active_children() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.2)  # until the pool knows
    yield from range(1, 4)


@pytest.mark.parametrize("join_in", [False, True])
def test_an_item_that_is_read_after_its_process_has_died_is_not_lost(join_in: bool) -> None:
    items = _first_and_then_those_after_its_process()
    results = list(ordered_map(_die_after_the_first, items, processes=1, join_in=join_in))
    assert results == [(number, number) for number in range(4)]


def _die_in_another_process(item: tuple[int, bytes]) -> int:
    if multiprocessing.parent_process() is not None:
        os._exit(9)
    return item[0]


def _join_in_beside_one_that_dies() -> None:
    items = [(number, bytes(200_000)) for number in range(20)]  # more than a pipe holds, which nobody reads any more
    results = list(ordered_map(_die_in_another_process, items, processes=1, join_in=True))
    assert [item for item, _ in results] == items
    assert [number for number, (_, result) in enumerate(results) if not isinstance(result, Crash)]
    assert isinstance(results[0][1], Crash)


def test_where_this_process_joins_in_one_that_dies_keeps_nothing_waiting() -> None:
    code = "from tests.unit.test_workers import _join_in_beside_one_that_dies as run; run()"
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)


def _refuse_five(number: int) -> int:
    if number == 5:
        raise ValueError("row 5")
    return number


def test_an_error_comes_after_the_results_before_it_wherever_it_is_raised() -> None:
    results = ordered_map(_refuse_five, range(8), processes=1, join_in=True)  # raised here, while the other one starts
    assert [next(results) for _ in range(5)] == [(number, number) for number in range(5)]
    with pytest.raises(ValueError, match="^row 5$"):
        next(results)


def _print_process_and_wait() -> None:
    for _, process in ordered_map(_process_id, range(100), processes=1):
        print(process, flush=True)
        time.sleep(60)


def test_no_process_outlives_a_parent_that_is_killed() -> None:
    code = "from tests.unit.test_workers import _print_process_and_wait as wait; wait()"
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    worker.wait(timeout=10)
