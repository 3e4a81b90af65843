"""Stages on a cluster whose nodes do not see the folder of who starts them: a mount namespace hides it from each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.pipeline.conftest import Clone, make_clone

from .conftest import CREDENTIALS
from .house import wait_until
from .ray_nodes import Nodes, namespaces_refused, nodes
from .test_cluster import PART, ended, evaluated, overlay, prepared
from .test_training import Training, result, start

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.in_order,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: `make cluster` installs it"),
    pytest.mark.skipif(namespaces_refused(), reason="no mount namespace is allowed here"),
]
BUCKET = "store"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, s3: str) -> Iterator[Clone]:
    """Drawings and clips fetched, a DVC remote in S3, two ranks; temporary files lie where no node sees them, too."""
    folder = tmp_path_factory.mktemp("apart")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        (folder / "tmp").mkdir()
        patch.setenv("TMPDIR", str(folder / "tmp"))
        patch.setenv("AWS_ENDPOINT_URL", s3)
        (folder / "clone").mkdir()
        clone = make_clone(folder / "clone")
        clone.run("dvc", "remote", "add", "--default", "far", f"s3://{BUCKET}/apart")
        overlay(clone, {"sketch": {"train": {"epochs": 2, "batch_size": 8, "ranks": 2}}})
        overlay(clone, {"video": {"source": {"clips_per_class": 100}}})
        for verb, task in (("download", "sketch"), ("preprocess", "sketch"), ("download", "video")):
            clone.run(sys.executable, "-m", f"stages.{verb}", task)
        yield clone


@pytest.fixture(scope="module")
def cluster(clone: Clone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Each node has a folder of its own for what it is brought, and sees an empty one in place of the clone's."""
    own = tmp_path_factory.mktemp("nodes")
    with nodes(3, hidden=clone.folder.parent, own=own) as started:
        yield started


@pytest.fixture(scope="module")
def trained(clone: Clone) -> dict[str, bytes]:
    """What two ranks of torchrun's train."""
    ended(start(clone, "sketch"))
    return result(clone, "sketch")


def train(clone: Clone, cluster: Nodes, **variables: str) -> Training:
    clone.run("rm", "-rf", "weights/sketch", "plots/sketch", ".resume")
    return start(clone, "sketch", {"UNROLL_RAY": cluster.address, **variables})


def test_a_preparation_comes_to_the_bytes_of_one_process_though_a_node_dies(
    clone: Clone, cluster: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-m", "stages.preprocess", "video"]
    monkeypatch.setenv("UNROLL_RESUME", str(clone.folder.parent / "alone"))
    clone.run(*command)
    alone = prepared(clone)
    together = clone.folder.parent / "together"
    environment = {**os.environ, "UNROLL_RESUME": str(together), "UNROLL_RAY": cluster.address}
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=clone.folder, env=environment, **output) as process:  # type: ignore[call-overload]

        def on_another_node() -> bool:
            assert process.poll() is None, process.communicate()
            busy = {number for _, number in cluster.workers(PART)}
            return len(list(together.rglob("*.arrow"))) > 20 and 2 in busy

        wait_until(on_another_node, "clips decoded by the third node", seconds=400, poll=0.02)
        cluster.kill(2)
        printed, _ = process.communicate(timeout=900)
    assert process.returncode == 0, printed.decode()
    assert prepared(clone) == alone
    assert len(list(together.rglob("*.arrow"))) >= len(list((clone.folder.parent / "alone").rglob("*.arrow")))
    cluster.add()


def test_chunks_of_drawings_come_back(clone: Clone, cluster: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which are handed over as files."""
    folder = clone.folder / "data/sketch/prepared"
    alone = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setenv("UNROLL_RAY", cluster.address)
    patch = (
        "import stages.tasks.sketch.prepare.prepare as p; p._BYTES_PER_PROCESS = 1000; import stages.preprocess as s;"
    )
    run = "from stages.command import main; main('preprocess', '', s.preprocess)"
    monkeypatch.setenv("UNROLL_RESUME", str(clone.folder.parent / "chunks"))
    printed = clone.run(sys.executable, "-c", f"{patch} {run}", "sketch")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == alone, printed


def test_ranks_need_a_place_for_states_that_all_reach(clone: Clone, cluster: Nodes) -> None:
    printed = ended(train(clone, cluster), 1)
    assert "does not share the folder with the training's checkpoints; set UNROLL_RESUME to an" in printed
    assert "Traceback" not in printed


def test_a_training_comes_to_the_bytes_of_torchruns_though_a_node_dies(
    clone: Clone, cluster: Nodes, trained: dict[str, bytes]
) -> None:
    import fsspec

    fs = fsspec.filesystem("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], use_listings_cache=False)
    training = train(clone, cluster, UNROLL_RESUME=f"s3://{BUCKET}/states")

    def saved() -> bool:
        assert training.process.poll() is None, training.ended()
        return any(name.endswith("/checkpoint.safetensors") for name in fs.find(f"{BUCKET}/states"))

    wait_until(saved, "a state of the training", seconds=400, poll=0.1)
    cluster.kill(1)
    cluster.add()
    printed = ended(training)
    assert "resuming after step" in printed
    assert result(clone, "sketch") == trained
    assert not fs.find(f"{BUCKET}/states")


def test_ranks_evaluate_as_one_process_does(
    clone: Clone, cluster: Nodes, trained: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they read is pushed, what they write comes back."""
    assert result(clone, "sketch") == trained
    alone = evaluated(clone, 1)
    monkeypatch.setenv("UNROLL_RAY", cluster.address)
    assert evaluated(clone, 2) == alone


def test_a_late_node_or_none_without_a_remote_is_one_line(clone: Clone, cluster: Nodes) -> None:
    clone.run("dvc", "remote", "default", "--unset")
    printed = ended(train(clone, cluster, UNROLL_RESUME=f"s3://{BUCKET}/states"), 1)
    assert "there is no DVC remote to send data/sketch/prepared there; run `dvc remote add --default" in printed
    assert printed.count("\n") == 2  # after the line that names the cluster
    clone.run("dvc", "remote", "default", "far")


def test_nodes_keep_no_run_but_the_last(clone: Clone, cluster: Nodes) -> None:
    for folder in cluster.folders():
        assert len(list((folder / "runs").glob("*"))) <= 1


LENT = """
import os
from stages.cluster import connection
from stages.preprocessing.workers import ordered_map

def lent(number):
    import ray
    return ray.get_gpu_ids(), os.environ.get("UNROLL_GPU")

connection.runs("preprocess@video")
print([result for _, result in ordered_map(lent, range(3), processes=3)])
"""


def test_an_item_takes_the_share_of_a_gpu_that_the_stage_asks_for(clone: Clone, cluster: Nodes) -> None:
    """A node that only says it has one; where no node has, nothing is asked for."""
    clone.edit("dvc.yaml", "video: {num_gpus: 0}", "video: {num_gpus: 0.5}")
    run = ["env", f"UNROLL_RAY={cluster.address}", sys.executable, "-c", LENT]
    assert str([([], None)] * 3) in clone.run(*run).splitlines()
    cluster.add("--num-gpus=1")
    assert str([([0], "1")] * 3) in clone.run(*run).splitlines()
    clone.edit("dvc.yaml", "video: {num_gpus: 0.5}", "video: {num_gpus: 2}")
    assert "preprocess@video: meta.num_gpus: found 2; allowed: 0 to 1" in clone.run(*run, ok=False)
