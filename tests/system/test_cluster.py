"""Stages on a Ray cluster of three nodes on this machine: the bytes of one process, whatever dies."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from stages.tasks.protocol import Task
from tests.pipeline.conftest import Clone, make_clone
from tests.unit.saved_model import saved_model

from .house import wait_until
from .ray_nodes import Nodes, nodes
from .test_training import Training, overlay, result, start

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.in_order,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: `make cluster` installs it"),
]
RANK, PART = "ray::RayTrainWorker", "ray::run_item"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Drawings prepared, clips fetched, two ranks."""
    clone = make_clone(tmp_path_factory.mktemp("cluster"))
    overlay(clone, {"sketch": {"train": {"epochs": 2, "batch_size": 8, "ranks": 2}}})
    overlay(clone, {"video": {"source": {"clips_per_class": 100}}})  # some time's work for three nodes
    for verb, task in (("download", "sketch"), ("preprocess", "sketch"), ("download", "video")):
        clone.run(sys.executable, "-m", f"stages.{verb}", task)
    return clone


@pytest.fixture(scope="module")
def trained(clone: Clone) -> dict[str, bytes]:
    """What two ranks of torchrun's train."""
    ended(start(clone, "sketch"))
    return result(clone, "sketch")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with nodes(3) as started:
        yield started


def train(clone: Clone, cluster: Nodes) -> Training:
    """Begin a training on the cluster."""
    clone.run("rm", "-rf", "weights/sketch", "plots/sketch")
    return start(clone, "sketch", {"UNROLL_RAY": cluster.address})


def wait_for_checkpoint(training: Training) -> None:
    def saved() -> bool:
        assert training.process.poll() is None, training.ended()
        return bool(list(training.clone.folder.glob(".resume/*/checkpoint.safetensors")))

    wait_until(saved, "a state of the training", seconds=400, poll=0.01)


def ended(training: Training, status: int = 0) -> str:
    printed, errors = training.process.communicate(timeout=900)
    assert training.process.returncode == status, printed + errors
    return printed + errors


def test_ranks_on_a_cluster_train_the_weights_of_torchruns(clone: Clone, cluster: Nodes, trained: dict[str, bytes]):
    printed = ended(train(clone, cluster))
    assert re.match(r"train sketch: [\d,]+ weights, 2 ranks, CPU\nepoch   0", printed)
    assert len(re.findall(r"unroll: cluster [\d.]+:\d+: 3 nodes: ", printed)) == 1
    assert printed.count("epoch   1") == 1  # as it is printed without a cluster, once
    assert result(clone, "sketch") == trained


def evaluated(clone: Clone, ranks: int) -> dict[str, bytes]:
    """What the evaluate stage writes in so many ranks."""
    overlay(clone, {"sketch": {"evaluate": {"ranks": ranks}}})
    clone.run("rm", "-rf", "plots/sketch/evaluation", "metrics/sketch.json")
    clone.run(sys.executable, "-m", "stages.evaluate", "sketch")
    files = clone.folder / "metrics/sketch.json", *(clone.folder / "plots/sketch/evaluation").rglob("*")
    return {path.name: path.read_bytes() for path in files if path.is_file()}


def test_ranks_on_a_cluster_evaluate_as_one_process_does(
    clone: Clone, cluster: Nodes, trained: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
):
    assert result(clone, "sketch") == trained
    alone = evaluated(clone, 1)
    monkeypatch.setenv("UNROLL_RAY", cluster.address)
    assert evaluated(clone, 2) == alone
    assert alone.keys() >= {"sketch.json", "predictions.csv"}


def test_asked_to_stop_it_saves_and_says_so_with_its_status(clone: Clone, cluster: Nodes, trained: dict[str, bytes]):
    training = train(clone, cluster)
    wait_for_checkpoint(training)
    training.process.send_signal(signal.SIGTERM)
    printed = ended(training, 75)
    assert "train sketch: stopped; the next start resumes from" in printed
    assert "Traceback" not in printed
    assert "resuming after step" in ended(start(clone, "sketch"))  # torchrun's ranks take up the state
    assert result(clone, "sketch") == trained


def test_a_rank_that_dies_is_started_again_and_resumes(clone: Clone, cluster: Nodes, trained: dict[str, bytes]):
    training = train(clone, cluster)
    wait_for_checkpoint(training)
    cluster.workers(RANK)[-1][0].kill()
    printed = ended(training)
    assert "resuming after step" in printed
    assert "(raylet)" not in printed  # Ray's own words of it
    assert result(clone, "sketch") == trained


def test_ranks_are_gone_soon_after_who_started_them_and_a_new_start_goes_on(
    clone: Clone, cluster: Nodes, trained: dict[str, bytes]
):
    training = train(clone, cluster)
    wait_for_checkpoint(training)
    training.process.kill()
    training.process.wait()
    wait_until(lambda: not cluster.workers(RANK), "the end of the ranks", seconds=60)
    assert not (clone.folder / "weights" / "sketch").exists()
    assert "resuming after step" in ended(train(clone, cluster))
    assert result(clone, "sketch") == trained


def test_more_ranks_than_processors_are_one_line(clone: Clone, cluster: Nodes):
    overlay(clone, {"sketch": {"train": {"ranks": 4}}})
    printed = ended(train(clone, cluster), 1)
    overlay(clone, {"sketch": {"train": {"ranks": 2}}})
    assert "train.ranks asks for 4 ranks, a CPU each; the cluster has 3 nodes: " in printed
    assert printed.count("\n") == 2  # after the line that names the cluster


def test_a_wrong_param_is_one_line_and_no_restart(clone: Clone, cluster: Nodes):
    overlay(clone, {"sketch": {"train": {"monitor": "bleu"}}})
    printed = ended(train(clone, cluster), 1)
    overlay(clone, {"sketch": {"train": {"monitor": "accuracy"}}})
    assert "train.monitor: " in printed.splitlines()[-1]
    assert "Traceback" not in printed


def test_several_processes_and_a_cluster_answer_as_one(
    clone: Clone, cluster: Nodes, trained: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, content in trained.items():
        (tmp_path / "weights" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "weights" / name).write_bytes(content)
    model = saved_model(Task("sketch"), tmp_path / "weights", tmp_path, monkeypatch)
    files = sorted((clone.folder / "data" / "sketch" / "raw").rglob("*.ndjson"))
    lines = [line for file in files for line in file.read_text().splitlines()] * 10 + ["nonsense"]
    (tmp_path / "many.ndjson").write_text("\n".join(lines))
    tables: list[bytes] = []
    for options, variables in (([], {}), (["--processes", "2"], {}), ([], {"UNROLL_RAY": cluster.address})):
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            output = tmp_path / f"{len(tables)}.csv"
            asked = [sys.executable, "-m", "stages.predict", "sketch", str(tmp_path / "many.ndjson"), "--model"]
            clone.run(*asked, str(model), "--output", str(output), *options)
        tables.append(output.read_bytes())
    assert tables[0].count(b"\n") == len(lines) + 1
    assert tables[1] == tables[0]
    assert tables[2] == tables[0]


def prepared(clone: Clone) -> dict[str, bytes]:
    folder = clone.folder / "data" / "video" / "prepared"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_node_that_dies_while_clips_are_prepared_loses_none(
    clone: Clone, cluster: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    command = [sys.executable, "-m", "stages.preprocess", "video"]
    monkeypatch.setenv("UNROLL_RESUME", str(tmp_path / "alone"))
    clone.run(*command)
    alone = prepared(clone)
    monkeypatch.setenv("UNROLL_RESUME", str(tmp_path / "together"))
    monkeypatch.setenv("UNROLL_RAY", cluster.address)
    with subprocess.Popen(command, cwd=clone.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:

        def on_another_node() -> bool:
            assert process.poll() is None, process.communicate()
            busy = {number for _, number in cluster.workers(PART)}
            return len(list((tmp_path / "together").rglob("*.arrow"))) > 20 and 2 in busy

        wait_until(on_another_node, "clips decoded by the third node", seconds=400, poll=0.02)
        cluster.kill(2)
        printed, _ = process.communicate(timeout=900)
    assert process.returncode == 0, printed.decode()
    assert b"(raylet)" not in printed  # Ray's own words of it
    assert prepared(clone) == alone
    metrics = json.loads((clone.folder / "metrics" / "preprocess" / "video.json").read_text())
    assert metrics["rejected"] == 0


def test_a_node_that_dies_while_ranks_train_is_replaced(clone: Clone, cluster: Nodes, trained: dict[str, bytes]):
    """Of two nodes, one of which dies, the ranks go to the other and to one that comes."""
    training = train(clone, cluster)
    wait_for_checkpoint(training)
    cluster.kill(1)
    cluster.add()
    assert "resuming after step" in ended(training)
    assert result(clone, "sketch") == trained
