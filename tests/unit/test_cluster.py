"""What runs on a cluster, without one: a stand-in for the module `ray` works on an item when asked for its result."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.cluster import arrival, connection, mapping, outputs, place, ranks, remote
from stages.cluster.arrival import Place
from stages.cluster.connection import ClusterError
from stages.preprocessing import workers
from stages.training import launch
from stages.training.distributed import StageError

REPOSITORY = Path(__file__).resolve().parents[2]


class RayError(Exception):
    """Those of a cluster."""


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        self.cause = cause


class WorkerCrashedError(RayError):
    """A process died."""


class NodeDiedError(RayError): ...


class ObjectLostError(RayError): ...


class OutOfMemoryError(RayError): ...


class StandIn:
    """As much of the module `ray` as is used; items are worked on when their results are asked for."""

    exceptions = SimpleNamespace(
        RayTaskError=RayTaskError,
        WorkerCrashedError=WorkerCrashedError,
        NodeDiedError=NodeDiedError,
        ObjectLostError=ObjectLostError,
        OutOfMemoryError=OutOfMemoryError,
    )

    def __init__(self, *resources: dict[str, float]) -> None:
        self._resources = resources
        self.waiting: list[Callable[[], Any]] = []
        self.most = 0  # items that were out at once
        self.gpus: float | None = None  # asked for by an item

    def nodes(self) -> list[dict[str, Any]]:
        alive = [
            {"Alive": True, "NodeID": name, "Resources": own, "NodeManagerAddress": name, "NodeManagerHostname": name}
            for name, own in zip("abc", self._resources, strict=False)
        ]
        return [*alive, {"Alive": False, "Resources": {}, "NodeManagerAddress": "d", "NodeManagerHostname": "d"}]

    def put(self, value: Any) -> Any:
        return value

    def remote(self, **options: Any) -> Callable[[Any], Any]:
        self.gpus = options.get("num_gpus")
        return lambda function: SimpleNamespace(remote=partial(self._submit, function))

    def _submit(self, function: Any, *arguments: Any) -> Callable[[], Any]:
        reference = partial(function, *arguments)
        if function is arrival.run_item:
            self.waiting.append(reference)
        self.most = max(self.most, len(self.waiting))
        return reference

    def wait(self, references: list[Any], **options: Any) -> tuple[list[Any], list[Any]]:
        return [], references

    def available_resources(self) -> dict[str, float]:
        return {}  # without the kinds that are all taken

    def get(self, reference: Any) -> Any:
        self.waiting = [other for other in self.waiting if other is not reference]
        try:
            return reference()
        except ValueError as error:
            raise RayTaskError(error) from None


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StandIn:
    """A cluster of two nodes, of a CPU each."""
    ray = StandIn({"CPU": 1.0}, {"CPU": 1.0})
    use(ray, monkeypatch)
    monkeypatch.chdir(tmp_path)
    return ray


def use(ray: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def connected() -> Iterator[StandIn]:
        yield ray

    @contextmanager
    def opened(ray: StandIn) -> Iterator[Place]:
        yield Place(
            run="", folder=str(Path.cwd()), markers=[], resume="", resume_marker="", variable="", environment={},
            code=None, code_sha256="", papers=None,
        )  # fmt: skip

    monkeypatch.setenv("UNROLL_RAY", "head:6379")
    monkeypatch.setattr(mapping, "connected", connected)
    monkeypatch.setattr(place, "opened", opened)
    monkeypatch.setattr(place, "packed", lambda value: (value, []))
    monkeypatch.setattr(place, "unpacked", lambda value: value)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(ranks, "connected", connected)


def test_results_come_in_order_and_few_items_are_out_at_once(cluster: StandIn) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = workers.ordered_map(lambda number: -number, items(), processes=50)
    assert next(results) == (0, 0)
    assert len(taken) == cluster.most == 2 * workers._AHEAD  # the rest is not read yet
    assert list(results) == [(number, -number) for number in range(1, 100)]
    assert cluster.most == 2 * workers._AHEAD


def test_this_process_joins_in_and_as_many_results_wait_at_the_most(cluster: StandIn) -> None:
    here: list[int] = []

    def square(number: int) -> int:
        if sys._getframe(1).f_code.co_name == "here":
            here.append(number)
        return number * number

    results = list(workers.ordered_map(square, iter(range(60)), processes=1, join_in=True))
    assert results == [(number, number * number) for number in range(60)]
    assert here[: workers._AHEAD] == list(range(workers._AHEAD, 2 * workers._AHEAD))


def test_an_item_whose_process_died_is_tried_alone_and_then_left_out(cluster: StandIn) -> None:
    tried: list[int] = []

    def die(number: int) -> int:
        tried.append(number)
        if number == 3 or (number == 5 and tried.count(5) == 1):
            raise WorkerCrashedError
        return number

    results = dict(workers.ordered_map(die, range(8), processes=2))
    crash = results.pop(3)
    assert isinstance(crash, workers.Crash)
    assert str(crash) == "the process died"  # as without a cluster
    assert results == {number: number for number in (0, 1, 2, 4, 5, 6, 7)}
    assert [tried.count(number) for number in (2, 3, 5)] == [1, 2, 2]


def test_it_says_once_that_the_first_result_takes_long(cluster: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    list(workers.ordered_map(abs, range(8), processes=2))
    line = "unroll: cluster: no result after 60 s; 0 of 2 CPUs are free, and other work may hold the rest\n"
    assert capsys.readouterr().err == line


def test_what_the_function_raises_is_raised(cluster: StandIn) -> None:
    def refuse(number: int) -> int:
        raise ValueError(f"row {number}")

    with pytest.raises(ValueError, match="^row 0$"):
        list(workers.ordered_map(refuse, range(3), processes=2))


def test_what_it_raises_here_comes_after_the_results_before_it(cluster: StandIn) -> None:
    last = 2 * workers._AHEAD - 1  # of those that are begun before the first result is read; it is worked out here

    def refuse(number: int) -> int:
        if number == last:
            raise ValueError(f"row {number}")
        return number

    results = workers.ordered_map(refuse, range(100), processes=1, join_in=True)
    assert [next(results) for _ in range(last)] == [(number, number) for number in range(last)]
    with pytest.raises(ValueError, match=f"^row {last}$"):
        next(results)


@pytest.mark.parametrize(("gpus", "found", "asked"), [(1.0, 0.25, 0.25), (1.0, 0, 0), (0.0, 0.25, 0)])
def test_an_item_takes_a_share_of_a_gpu_where_the_stage_asks_and_the_cluster_has_one(
    gpus: float, found: float, asked: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ray = StandIn({"CPU": 1.0}, {"CPU": 1.0, "GPU": gpus})
    use(ray, monkeypatch)
    monkeypatch.setenv("UNROLL_GPU", "")
    monkeypatch.delenv("UNROLL_GPU")  # as it will be again after the test

    @contextmanager
    def stage(name: str) -> Iterator[Any]:
        assert name == "preprocess@video"
        yield SimpleNamespace(meta={"num_gpus": found})

    monkeypatch.setattr(remote, "_stage", stage)
    monkeypatch.setattr(connection, "_stage", None)
    assert dict(workers.ordered_map(os.environ.get, ["UNROLL_GPU"], processes=1)) == {"UNROLL_GPU": None}
    monkeypatch.setattr(connection, "_stage", "preprocess@video")
    result = dict(workers.ordered_map(os.environ.get, ["UNROLL_GPU"], processes=1))
    assert (ray.gpus, result["UNROLL_GPU"]) == (asked, "1" if asked else None)


@pytest.mark.parametrize("found", [-1, 1.5, "a half", True])
def test_a_share_that_is_none_is_refused(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def stage(name: str) -> Iterator[Any]:
        yield SimpleNamespace(meta={"num_gpus": found})

    monkeypatch.setattr(remote, "_stage", stage)
    monkeypatch.setattr(connection, "_stage", "preprocess@video")
    with pytest.raises(ClusterError, match=f"preprocess@video: meta.num_gpus: found {found!r}; allowed: 0 to 1"):
        remote.stage_gpus()


def test_a_cluster_without_processors_is_no_place_to_work(monkeypatch: pytest.MonkeyPatch) -> None:
    use(StandIn({"CPU": 0.0}), monkeypatch)
    with pytest.raises(ClusterError, match="no CPU to work on.*1 node: a 0 CPUs"):
        list(workers.ordered_map(abs, [1], processes=1))


def test_the_number_of_processors_is_not_known_before_a_cluster_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNROLL_RAY", "auto")
    assert workers.cores() > 10**6
    monkeypatch.delenv("UNROLL_RAY")
    assert workers.cores() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    "found", ["ray://head:10001", "head", "head:port", "http://head:1", ":6379", "head:99999", "head:0"]
)
def test_an_address_that_is_none_is_refused(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNROLL_RAY", found)
    with pytest.raises(ClusterError, match=f"UNROLL_RAY: found '{found}'; allowed: HOST:PORT"):
        connection.address()


@pytest.mark.parametrize("found", ["head:6379", "10.0.0.1:6379", "[::1]:6379", "auto"])
def test_addresses(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNROLL_RAY", found)
    assert connection.address() == found
    monkeypatch.setenv("UNROLL_RAY", "")
    assert connection.address() is None


def test_where_nobody_listens_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClusterError, match=r"UNROLL_RAY=127\.0\.0\.1:9: no head node answers at this address"):
        connection._ask("127.0.0.1:9")


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (b"HTTP/1.0 400 Bad request syntax\r\n", r"no head node of Ray; it answers b'HTTP/1\.0 400 Bad request"),
        (b"", r"no head node of Ray; it answers b''"),
        (None, r"no head node answers at this address \(timed out\)"),
        (bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]), None),
    ],
    ids=["HTTP/1", "closes", "is silent", "HTTP/2"],
)
def test_a_server_that_is_no_head_node_is_told_apart(
    answer: bytes | None, line: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as threads:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                assert client.recv(64).startswith(b"PRI * HTTP/2.0")
                if answer is None:
                    client.recv(1)  # until the other side gives up
                else:
                    client.sendall(answer)

        served = threads.submit(serve)
        with pytest.raises(ClusterError, match=line) if line else nullcontext():
            connection._ask(f"127.0.0.1:{server.getsockname()[1]}")
        served.result()


def test_what_ray_logs_while_it_connects_is_collected_and_other_lines_are_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    messages: list[str] = []
    with connection._collected_log(messages):
        os.write(2, b"[2026-12-02 23:13:02,867 W 16445 16445] gcs_client.cc:210: Failed: InvalidAuthToken\nother\n")
    assert messages == ["Failed: InvalidAuthToken"]
    assert capfd.readouterr().err == "other\n"


@pytest.mark.parametrize(
    ("mode", "reason", "line"),
    [
        (
            "token",
            "Token authentication is enabled but no authentication token was found. To",
            "RAY_AUTH_MODE=token: fo",
        ),
        (
            "",
            "Failed: InvalidAuthToken",
            "Failed: InvalidAuthToken; set RAY_AUTH_MODE=token, and copy the head node's ~/",
        ),
        (
            "token",
            "Failed: InvalidAuthToken",
            "Failed: InvalidAuthToken; copy the head node's ~/.ray/auth_token to this",
        ),
        ("", "timed out", "timed out"),
    ],
)
def test_what_to_do_about_a_token_is_said(mode: str, reason: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    assert connection._about_tokens(reason).startswith(line)


def test_a_stop_while_ray_waits_ends_the_command_with_its_status() -> None:
    with pytest.raises(SystemExit) as ended, connection._interrupts_as_ours():
        raise KeyboardInterrupt
    assert ended.value.code == 75


def test_what_ray_says_of_a_dead_process_is_a_line_beside_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    ray_worker = pytest.importorskip("ray._private.worker")
    assert callable(ray_worker.print_to_stdstream)  # what `connected` replaces
    paragraphs = (
        "A worker died or was killed while executing a task by an unexpected system error. To troubleshoot the "
        "problem, check the logs for the dead worker. Lease ID: 5a Worker ID: 4b Node ID: 3c Worker IP address: "
        "127.0.0.1 Worker port: 10009 Worker PID: 4711 Worker exit type: SYSTEM_ERROR",
        "Task run_item failed. There are 1 retries remaining, so the task will be retried. Error: ",
        "The node with node id: 3c and address: 10.0.0.2 and node name: 10.0.0.2 has been marked dead because the "
        "detector has missed too many heartbeats from it.",
        "Raylet is terminated. Termination is unexpected. Possible reasons include: (1) SIGKILL by the user",
        "Another event.\n" + "Its id: 1 " * 50,
    )
    connection._print_event({"pid": "raylet", "is_err": False, "lines": paragraphs})
    printed = capsys.readouterr()
    assert printed.out == ""
    process, node, other = printed.err.splitlines()
    assert process == "unroll: cluster: process 4711 on 127.0.0.1 died; its work is tried again"
    assert node == "unroll: cluster: node 10.0.0.2 died; its work is tried on the others"
    assert re.fullmatch(r"unroll: cluster: Another event\. Its id: .{,140} …", other)


def test_without_ray_a_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNROLL_RAY", "auto")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match="Ray is not installed; run `make cluster`"), connection.connected():
        pass


@pytest.mark.parametrize(
    ("resources", "count", "line"),
    [
        ([{"CPU": 2.0}, {"CPU": 1.0}], 4, r"train\.ranks asks for 4 ranks, a CPU each; .* 2 nodes: a 2 CPUs, b 1 CPU$"),
        ([{"CPU": 8.0, "GPU": 1.0}], 2, r"2 ranks, a GPU and a CPU each; the cluster has 1 node: a 8 CPUs 1 GPU$"),
    ],
)
def test_fewer_processors_than_ranks_are_one_line(
    resources: list[dict[str, float]], count: int, line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(StandIn(*resources), monkeypatch)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StageError, match=line):
        launch.run("train", "sketch", count, print)


def test_ranks_get_a_gpu_each_where_there_are_any() -> None:
    assert ranks._has_gpus(StandIn({"CPU": 4.0, "GPU": 2.0}), "train.ranks", 2)
    assert not ranks._has_gpus(StandIn({"CPU": 4.0}), "train.ranks", 2)


def test_it_says_once_that_too_few_nodes_are_left(capsys: pytest.CaptureFixture[str]) -> None:
    told = False
    for cpus in (2.0, 1.0, 1.0, 2.0, 1.0):
        told = ranks._tell_if_it_waits(StandIn({"CPU": cpus}), "train.ranks", 2, gpu=False, told=told)
    waits = "unroll: train.ranks waits a few minutes for 2 ranks, a CPU each; the cluster has 1 node: a 1 CPU"
    back = "unroll: train.ranks: the cluster has room again; the ranks start"
    assert capsys.readouterr().err.splitlines() == [waits, back, waits]


@pytest.mark.parametrize(
    ("ended", "status"),
    [(ranks.Ended(stopped=True), 75), (ranks.Ended(), None), (ranks.Ended("step 3: not finite"), "step 3: not finite")],
)
def test_how_ranks_ended_is_how_the_stage_ends(
    ended: ranks.Ended, status: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setenv("UNROLL_RAY", "auto")

    def run(*args: Any, **options: Any) -> ranks.Ended:
        given.append((args, options))
        return ended

    monkeypatch.setattr(ranks, "run", run)
    if status is None:
        launch.run("train", "sketch", 2, print, "x")
    else:
        with pytest.raises((SystemExit, StageError)) as error:
            launch.run("train", "sketch", 2, print, "x")
        assert getattr(error.value, "code", str(error.value)) == status
    (name, count, rank), options = given[0]
    assert (name, count, options) == ("train.ranks", 2, {"restarts": 3})
    assert rank.args == ("train", 2, print, "x")


def test_a_rank_says_what_would_come_again_and_that_it_was_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mailbox = arrival.Mailbox()
    handle = SimpleNamespace(
        **{name: SimpleNamespace(remote=getattr(mailbox, name)) for name in ("tell", "print", "news")}
    )
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda value: value))
    monkeypatch.setattr(ranks, "_of_this_rank", None)
    monkeypatch.setattr(place, "enter", lambda here: True)
    monkeypatch.setattr(place, "unpacked", lambda work: work)

    def rank(work: Callable[[], Any]) -> int:
        return ranks.as_rank({"mailbox": handle, "place": {}, "work": (work, [])})

    def stopped() -> None:
        print("saved", end="\n")
        print("whole lines only", end="")
        sys.exit(75)

    assert rank(stopped) == 75
    assert ranks.inside()
    assert mailbox.news() == ([("stdout", "saved\n")], [], None)
    assert rank(lambda: "step 3: not finite") == 0
    news = ranks._news(SimpleNamespace(get=lambda value: value), handle, outputs.Received())
    assert news == "step 3: not finite"
    with pytest.raises(ZeroDivisionError):  # which starts all of them again
        rank(lambda: 1 // 0)
    assert capsys.readouterr().out == ""


def test_without_the_variable_nothing_of_ray_is_imported() -> None:
    code = (
        "import sys; from stages.training import launch; from stages.preprocessing.workers import ordered_map; "
        "launch.run('train', 'sketch', 1, print); list(ordered_map(abs, [1], processes=1)); import stages.predict; "
        "sys.exit('ray' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "UNROLL_RAY"}
    environment["PYTHONPATH"] = str(REPOSITORY)
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
