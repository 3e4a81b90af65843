"""Everything arrives once, whatever fails: the store here is a fake that fails on command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from stages.tracking import spool
from stages.tracking.delivery import BATCH, Delivery, Point, StoreError
from stages.tracking.spool import Spool, Start

HERE = "here"


def begin(attempt: int, *, resumed_step: int | None = None, signature: str = "abc", store: str = HERE) -> Start:
    return Start(
        task="forecast",
        signature=signature,
        attempt=str(attempt),
        resumed_step=resumed_step,
        store=store,
        time=1000 * attempt,
        params={"a": "1"},
        tags={},
        data="d.dir",
        data_path="data/forecast/prepared",
        difference="a diff",
    )


@dataclass
class Run:
    attempts: tuple[str, ...]
    status: str = "RUNNING"
    described: int = 0
    diff: str = ""
    rows: set[Point] = field(default_factory=set)  # MLflow's primary key is the whole point


@dataclass
class FakeStore:
    """Runs by id. The calls in `broken` fail, before they do their work or after it."""

    runs: dict[str, Run] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    broken: Callable[[int, str], str | None] = lambda number, name: None

    def _call(self, name: str, work: Callable[[], object]) -> object:
        self.calls.append(name)
        fault = self.broken(len(self.calls) - 1, name)
        if fault == "before":
            raise StoreError("away")
        if fault == "refused":
            raise StoreError("no", refused=True)
        result = work()
        if fault == "after":
            raise StoreError("the answer was lost")
        return result

    def find(self, start: Start) -> dict[str, tuple[str, ...]]:
        found = {i: run.attempts for i, run in reversed(self.runs.items()) if i.startswith(start.signature)}
        self._call("find", lambda: None)
        return found

    def create(self, start: Start) -> str:
        run_id = f"{start.signature}{len(self.runs)}"
        self._call("create", lambda: self.runs.update({run_id: Run((start.attempt,))}))
        return run_id

    def go_on(self, run_id: str, start: Start, attempts: Sequence[str]) -> None:
        def work() -> None:
            self.runs[run_id].attempts, self.runs[run_id].status = tuple(attempts), "RUNNING"
            if attempts[0] == start.attempt:
                self.runs[run_id].described = 1

        self._call("go_on", work)

    def history(self, run_id: str) -> Mapping[str, Mapping[int, float]]:
        self._call("history", lambda: None)
        values: dict[str, dict[int, float]] = {}
        for row in self.runs[run_id].rows:
            values.setdefault(row.name, {})[row.step] = row.value
        return values

    def log(self, run_id: str, points: Sequence[Point]) -> None:
        assert len(points) <= BATCH
        self._call("log", lambda: self.runs[run_id].rows.update(points))

    def end(self, run_id: str, start: Start, status: str, time: int) -> None:
        def work() -> None:
            self.runs[run_id].status, self.runs[run_id].diff = status, start.difference

        self._call("end", work)

    def delete(self, run_id: str) -> None:
        self._call("delete", lambda: self.runs.pop(run_id))


def tell(file: Spool, steps: range, *, time: int = 0) -> None:
    for step in steps:
        values = {"step_loss": 1.0 / (step + 1)}
        file.append({"kind": "metrics", "time": time + step, "step": step, "at": step, "values": values})


def finish(file: Spool, *, status: str = "FINISHED", seconds: float | None = 5.0) -> None:
    file.append({"kind": "end", "time": 9, "status": status, "seconds": seconds})
    file.close()


def steps(run: Run, name: str = "step_loss") -> list[int]:
    """The steps of a metric in the history, with those that stand there twice twice."""
    return sorted(row.step for row in run.rows if row.name == name)


def seconds(run: Run) -> dict[int, float]:
    return {row.step: row.value for row in run.rows if row.name == "training_seconds"}


def delivery(store: FakeStore, folder: Path) -> Delivery:
    return Delivery(store, HERE, folder)


def test_a_training_arrives_while_it_goes_on_and_its_spool_goes_when_it_is_over(tmp_path):
    store, file = FakeStore(), Spool(begin(1), tmp_path)
    sender = delivery(store, tmp_path)
    tell(file, range(3))
    sender.run(own=file.path)
    (run,) = store.runs.values()
    assert (steps(run), run.status) == ([0, 1, 2], "RUNNING")
    tell(file, range(3, 5))
    finish(file)
    sender.run(own=file.path, own_ended=True)
    assert (steps(run), run.status, run.diff) == ([0, 1, 2, 3, 4], "FINISHED", "a diff")
    assert seconds(run) == {0: 5.0}
    assert spool.pending(tmp_path) == []


def test_what_was_sent_is_not_sent_again(tmp_path):
    store, file = FakeStore(), Spool(begin(1), tmp_path)
    sender = delivery(store, tmp_path)
    tell(file, range(3))
    sender.run(own=file.path)
    sender.run(own=file.path)
    assert Counter(store.calls)["log"] == 1


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(8))
def test_any_one_request_may_fail_or_lose_its_answer(tmp_path, number, when):
    store, file = FakeStore(), Spool(begin(1), tmp_path)
    tell(file, range(BATCH + 10))
    finish(file)
    store.broken = lambda n, name: when if n == number else None
    sender = delivery(store, tmp_path)
    with pytest.raises(StoreError):
        sender.run()
    sender.run()
    (run,) = store.runs.values()
    assert steps(run) == list(range(BATCH + 10))
    assert (run.status, run.described, run.diff) == ("FINISHED", 1, "a diff")
    assert "delete" not in store.calls  # the run was found again, not made again
    assert seconds(run) == {0: 5.0}
    assert spool.pending(tmp_path) == []


def test_the_undisturbed_delivery_has_as_many_requests_as_the_test_above_breaks(tmp_path):
    store, file = FakeStore(), Spool(begin(1), tmp_path)
    tell(file, range(BATCH + 10))
    finish(file)
    delivery(store, tmp_path).run()
    assert store.calls == ["find", "create", "go_on", "log", "log", "log", "end", "find"]


def test_a_store_that_is_away_for_long_gets_everything_in_the_end(tmp_path):
    store, file = FakeStore(broken=lambda n, name: "before" if n < 20 else None), Spool(begin(1), tmp_path)
    sender = delivery(store, tmp_path)
    for first in range(20):
        tell(file, range(first, first + 1))
        with pytest.raises(StoreError, match="away"):
            sender.run(own=file.path)
    finish(file)
    delivery(store, tmp_path).run()  # another process, later
    (run,) = store.runs.values()
    assert steps(run) == list(range(20))


def test_a_run_that_was_made_after_all_leaves_no_twin(tmp_path):
    store, file = FakeStore(), Spool(begin(1), tmp_path)
    tell(file, range(3))
    finish(file)
    late = []

    def broken(number: int, name: str) -> str | None:
        if name == "create" and not late:
            late.append(Run(("1",)))  # works, but only after the next look
            return "before"
        if name == "go_on":
            store.runs.setdefault("abc-late", late[0])
        return None

    store.broken = broken
    sender = delivery(store, tmp_path)
    with pytest.raises(StoreError):
        sender.run()
    sender.run()
    (run,) = store.runs.values()
    assert steps(run) == [0, 1, 2]


def test_a_killed_training_ends_as_killed(tmp_path):
    store, file = FakeStore(), Spool(begin(1), tmp_path)
    tell(file, range(3), time=4000)
    file.close()
    delivery(store, tmp_path).run()
    (run,) = store.runs.values()
    assert (steps(run), run.status) == ([0, 1, 2], "KILLED")
    assert seconds(run) == {0: pytest.approx((4002 - 1000) / 1000)}


def test_a_wall_time_that_nobody_knows_is_not_made_up(tmp_path):
    store, file = FakeStore(), Spool(begin(1), tmp_path)
    tell(file, range(3))
    finish(file, seconds=None)
    delivery(store, tmp_path).run()
    (run,) = store.runs.values()
    assert (run.status, seconds(run)) == ("FINISHED", {})


def test_a_training_that_goes_on_is_left_to_its_own_process(tmp_path):
    store, file = FakeStore(), Spool(begin(1), tmp_path)
    tell(file, range(3))
    delivery(store, tmp_path).run()
    assert not store.runs
    assert spool.pending(tmp_path) == [file.path]


def test_a_resumed_training_goes_on_in_the_same_run_and_repeats_no_step(tmp_path):
    store, first = FakeStore(), Spool(begin(1), tmp_path)
    tell(first, range(8))
    first.append({"kind": "metrics", "time": 7, "step": 0, "at": 7, "values": {"train_loss": 1.0}})
    first.close()
    delivery(store, tmp_path).run()
    second = Spool(begin(2, resumed_step=4), tmp_path)
    tell(second, range(4, 8), time=5000)
    second.append({"kind": "metrics", "time": 5007, "step": 0, "at": 7, "values": {"train_loss": 1.0}})
    tell(second, range(8, 10), time=5000)
    finish(second)
    delivery(store, tmp_path).run()
    (run,) = store.runs.values()
    assert (steps(run), steps(run, "train_loss")) == (list(range(10)), [0])
    assert (run.status, run.attempts) == ("FINISHED", ("1", "2"))
    first_seconds = (7 - 1000) / 1000
    assert seconds(run) == {0: pytest.approx(first_seconds), 1: pytest.approx(first_seconds + 5.0)}


def test_of_steps_that_were_not_sent_the_resumed_trainings_own_are_kept(tmp_path):
    store, first = FakeStore(), Spool(begin(1), tmp_path)
    tell(first, range(8))  # and the store is away; its lock is held by a child that lives on for a moment
    second = Spool(begin(2, resumed_step=4), tmp_path)
    tell(second, range(4, 10), time=5000)
    finish(second)
    delivery(store, tmp_path).run()
    (run,) = store.runs.values()
    assert steps(run) == list(range(10))
    assert {row.step for row in run.rows if row.name == "step_loss" and row.time >= 5000} == set(range(4, 10))


def test_a_training_that_begins_anew_gets_a_new_run(tmp_path):
    store = FakeStore()
    for attempt in (1, 2):
        file = Spool(begin(attempt), tmp_path)
        tell(file, range(2))
        finish(file)
        delivery(store, tmp_path).run()
    assert [run.attempts for run in store.runs.values()] == [("1",), ("2",)]
    assert all(steps(run) == [0, 1] for run in store.runs.values())


def test_a_refused_spool_does_not_hold_up_the_others(tmp_path):
    store = FakeStore(broken=lambda n, name: "refused" if n == 0 else None)
    for signature, attempt in (("abc", 1), ("def", 2)):
        file = Spool(begin(attempt, signature=signature), tmp_path)
        tell(file, range(2))
        finish(file)
    with pytest.raises(StoreError, match="no"):
        delivery(store, tmp_path).run()
    assert list(store.runs) == ["def0"]
    assert len(spool.pending(tmp_path)) == 1


def test_a_damaged_spool_is_named_and_does_not_hold_up_the_others(tmp_path):
    (tmp_path / "abc-1.jsonl").write_bytes(b"\0\0\n")
    file = Spool(begin(2, signature="def"), tmp_path)
    finish(file)
    store = FakeStore()
    with pytest.raises(StoreError, match=r"abc-1\.jsonl: byte 0: .*; remove the file"):
        delivery(store, tmp_path).run()
    assert list(store.runs) == ["def0"]


def test_a_spool_waits_for_the_store_that_it_is_meant_for(tmp_path):
    store, file = FakeStore(), Spool(begin(1, store="elsewhere"), tmp_path)
    finish(file)
    delivery(store, tmp_path).run()
    assert not store.calls
    assert len(spool.pending(tmp_path)) == 1


def test_a_line_that_was_cut_off_by_a_kill_is_no_event(tmp_path):
    file = Spool(begin(1), tmp_path)
    tell(file, range(2))
    file.close()
    with file.path.open("ab") as torn:
        torn.write(b'{"kind": "metrics", "ti')
    store = FakeStore()
    delivery(store, tmp_path).run()
    (run,) = store.runs.values()
    assert (steps(run), run.status) == ([0, 1], "KILLED")


def test_a_spool_is_alive_as_long_as_the_process_that_writes_it(tmp_path):
    code = (
        "import json, sys, time; from pathlib import Path; from stages.tracking.spool import Spool, Start\n"
        "file = Spool(Start(**json.loads(sys.argv[1])), Path(sys.argv[2]))\n"
        "print(file.path, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, json.dumps(asdict(begin(1))), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        path = Path(process.stdout.readline().strip())
        assert spool.is_alive(path)
        process.kill()
    assert not spool.is_alive(path)
