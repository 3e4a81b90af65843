"""Does a registered version still reach what was recorded? Measured again, in a fresh clone, from what was recorded.

The clone stands at the version's commit, with its patch where the commit had changes. The data come by the md5s in the
version's tags (the commit's own `dvc.lock` is older than the run), from DVC's cache or its remote; the weights come out
of the registry. Then the evaluate stage of that commit runs, with the packages that are installed here. It
measures the measured network; a served one, which was refit on the test data too, is compared by its hash alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ..data.files import read_json
from ..paths import project_root
from ..provenance.hashes import file_md5
from ..sources.dvc_cache import cache_folder
from . import lineage, versions
from .decision import facts
from .verify import Finding, verify_model, weights_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from ..tasks.protocol import Task


class ReproductionError(RuntimeError):
    """A version cannot be measured again; the message says what is missing."""


def reproduce(client: MlflowClient, task: Task, version: ModelVersion) -> Iterator[Finding]:
    """Measure a version again and compare each metric. Raises ReproductionError where something is gone."""
    with tempfile.TemporaryDirectory(prefix="unroll-prove-") as temporary:
        folder = Path(temporary)
        for finding in verify_model(version, folder):
            yield finding
            if finding.state == "differs" or finding.item == "model":
                return  # what is in the registry is not what was measured
        clone = folder / "clone"
        _clone(clone, version)
        _apply_patch(client, version, clone, folder)
        _fetch_data(client, task, version, clone, folder)
        weights = weights_folder(folder / "model")
        if weights is None:
            raise _error(version, "the registered model holds no weights")
        shutil.copytree(weights, clone / task.paths.weights)
        _run([sys.executable, "-m", "stages.evaluate", task.name], clone)
        recorded = lineage.recorded(client, version, versions.METRICS_FILE, folder)
        yield from _compare(recorded, clone / task.paths.metrics, version)
        yield from _environment(client, version, folder)


def _error(version: ModelVersion, text: str) -> ReproductionError:
    return ReproductionError(f"{version.name} version {version.version}: {text}")


def _clone(clone: Path, version: ModelVersion) -> None:
    commit = facts(version).get(versions.COMMIT, "none")
    here = project_root()
    known = subprocess.run(["git", "-C", str(here), "cat-file", "-e", f"{commit}^{{commit}}"], capture_output=True)
    if known.returncode:
        raise ReproductionError(f"{here}: commit {commit} is not in this repository; try `git fetch`")
    # Shared, since the commit may be on no branch any more.
    _run(["git", "clone", "--quiet", "--shared", "--no-checkout", str(here), str(clone)], here)
    _run(["git", "-c", "advice.detachedHead=false", "checkout", "--quiet", commit], clone)
    # The cache and the remotes that are set for this checkout alone.
    local = here / ".dvc" / "config.local"
    if local.is_file():
        shutil.copy(local, clone / ".dvc" / "config.local")
    _run(_dvc("cache", "dir", "--local", str(cache_folder().parent.parent)), clone)


def _apply_patch(client: MlflowClient, version: ModelVersion, clone: Path, folder: Path) -> None:
    if facts(version).get(versions.DIRTY) != "true" or versions.PATCH not in facts(version):
        return
    patch = lineage.recorded(client, version, versions.PATCH_FILE, folder)
    if patch is None:
        raise _error(version, f"its patch ({versions.PATCH_FILE}) is missing")
    if hashlib.sha256(patch.read_bytes()).hexdigest() != facts(version)[versions.PATCH]:
        raise _error(version, f"its patch ({versions.PATCH_FILE}) differs from the one registered")
    _run(["git", "apply", "--whitespace=nowarn", str(patch)], clone)


def _fetch_data(client: MlflowClient, task: Task, version: ModelVersion, clone: Path, folder: Path) -> None:
    """Give the clone the recorded dvc.lock, and have DVC bring what evaluate reads of it."""
    path = lineage.recorded(client, version, versions.LOCK_FILE, folder)
    if path is None:
        raise _error(version, f"its {versions.LOCK_FILE} was not recorded or has been deleted")
    recorded: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
    dataset_task = task.paths.dataset_task
    stages = [f"download@{dataset_task}", f"preprocess@{dataset_task}"]
    if dataset_task != task.name:
        stages.append(f"train@{dataset_task}")  # its network may be what measures
    made = {out["path"]: out.get("md5") for name in stages for out in recorded[name]["outs"]}
    for name, md5 in lineage.data_hashes(version).items():
        if made.get(name) != md5:
            raise _error(version, f"{name} has md5 {md5} in its tags and {made.get(name)} in its {versions.LOCK_FILE}")
    lock = {"schema": "2.0", "stages": {name: stage for name, stage in recorded.items() if "evaluate" not in name}}
    (clone / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False), encoding="utf-8")
    read = [dep["path"] for dep in recorded[f"evaluate@{task.name}"]["deps"] if dep["path"] in made]
    there = subprocess.run(_dvc("checkout", "--quiet", *read), cwd=clone, env=_surroundings(), capture_output=True)
    if there.returncode:
        _run(_dvc("pull", "--quiet", *read), clone)


def _compare(recorded: Path | None, reached: Path, version: ModelVersion) -> Iterator[Finding]:
    if recorded is None or file_md5(recorded) != facts(version).get(f"{versions.RECEIPT}metrics"):
        raise _error(version, f"its {versions.METRICS_FILE} is missing or differs from the one recorded")
    then, now = read_json(recorded), read_json(reached)
    for name in sorted({*then, *now}):
        found, wanted = now.get(name, "nothing"), then.get(name, "nothing")
        if found == wanted:
            yield Finding(name, "ok", str(wanted))
        else:
            yield Finding(name, "differs", f"found {found}, recorded {wanted}")


def _environment(client: MlflowClient, version: ModelVersion, folder: Path) -> Iterator[Finding]:
    """Packages of other versions than then, which may be why a metric differs; none of them makes the proof fail."""
    path = lineage.recorded(client, version, versions.ENVIRONMENT_FILE, folder)
    if path is None:
        yield Finding("environment", "missing")
        return
    then, now = set(path.read_text(encoding="utf-8").splitlines()), set(versions.environment().splitlines())
    other = sorted(then - now)
    detail = f"{len(other)} packages had other versions, such as {', '.join(other[:3])}"
    yield Finding("environment", "ok", detail if other else "the same packages")


def _dvc(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "dvc", *arguments]


def _surroundings() -> dict[str, str]:
    """The clone's own modules, and nothing that says which stage runs here."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "DVC_STAGE", "DVC_ROOT")}


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, env=_surroundings(), capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise ReproductionError(
            f"`{' '.join(command[-4:])}` in the clone failed: {lines[-1] if lines else done.returncode}"
        )
