"""What of the registry and of DVC's cache can go: old versions, and data that nothing needs any more.

A version stays that has an alias, that a training starts from (`sources/weights/`), that a rollback would go back to,
that still waits for a verdict, for more examples or for an approval, or that is among the newest of its model. What a
version stands on stays in DVC's cache as long as the version does.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from ..paths import project_root
from ..sources.dvc_cache import cache_folder
from ..tasks.protocol import Task
from . import lineage
from .champion import PREVIOUS_CHAMPION, model_lock
from .decision import CHAMPION, Decision, read_verdict
from .pin_weights import pinned_versions
from .versions import COLLECTED, CONTENT, LOCK_FILE, all_versions, remove

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


_WAITING = (Decision.CHALLENGER_WAITING, Decision.CHALLENGER_FEW_EXAMPLES, Decision.UNANSWERED)


def collectable(versions: Sequence[ModelVersion], keep: int, pinned: Collection[str] = ()) -> list[ModelVersion]:
    """Those of a model's versions, the newest first, that can go; `keep` newest ones stay in any case, and those of
    these `pinned` numbers.
    """
    needed = {version.tags.get(PREVIOUS_CHAMPION) for version in versions if CHAMPION in version.aliases}
    return [
        version
        for version in versions[keep:]
        if not version.aliases
        and str(version.version) not in needed
        and str(version.version) not in pinned
        and (verdict := read_verdict(version))
        and verdict.decision not in _WAITING
    ]


def collect_versions(client: MlflowClient, keep: int, *, delete: bool) -> Iterator[ModelVersion]:
    """The versions that can go, of all models; with `delete`, they do, with their files.

    The model remembers the verdict on what has gone, so that registering the same content again promotes nothing; but
    params of one run alone are no verdict on what they would be in params.yaml.
    """
    for task in map(Task, Task.names()):
        name = task.description().model_name
        with model_lock(name):
            for version in collectable(all_versions(client, name), keep, pinned_versions(name)):
                if delete:
                    content, verdict = version.tags.get(CONTENT, ""), read_verdict(version)
                    if verdict and verdict.decision is not Decision.CHALLENGER_OVERRIDES:
                        noted = f"version {version.version}: {verdict}"
                        client.set_registered_model_tag(name, f"{COLLECTED}{content[:32]}", noted)
                    remove(client, version)
                yield version


def collect_cache(client: MlflowClient, *, delete: bool) -> str:
    """Have `dvc gc` clear DVC's cache; returns its output. Without `delete` it only lists what would go.

    What stays: all that this checkout, its worktrees, branches, tags and experiments name, and what any registered
    version stands on. Of the latter, DVC learns from a small project made for it.
    """
    root, cache = project_root(), cache_folder().parent.parent
    with tempfile.TemporaryDirectory(prefix="unroll-gc-") as temporary:
        project = _project(client, Path(temporary), cache)
        listing = ["git", "-C", str(root), "worktree", "list", "--porcelain"]
        lines = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.splitlines()
        trees = [line.removeprefix("worktree ") for line in lines if line.startswith("worktree ")]
        others = [tree for tree in trees if Path(tree).is_dir() and Path(tree) != root]
        command = [sys.executable, "-m", "dvc", "gc", "--all-branches", "--all-tags", "--all-experiments"]
        command += ["--force" if delete else "--dry", "--projects", str(project), *others]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    output = "\n".join(part.strip() for part in (done.stdout, done.stderr) if part.strip())
    if done.returncode:
        raise RuntimeError(f"dvc gc: {output.splitlines()[-1] if output else done.returncode}")
    return output


def _project(client: MlflowClient, folder: Path, cache: Path) -> Path:
    """A DVC project that names all data that registered versions stand on."""
    commands = (["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet"])
    for command in (*commands, [sys.executable, "-m", "dvc", "cache", "dir", "--local", str(cache)]):
        subprocess.run(command, cwd=folder, capture_output=True, check=True)
    for number, md5 in enumerate(sorted(_needed(client, folder))):
        named = {"outs": [{"md5": md5, "hash": "md5", "path": f"data{number}"}]}
        (folder / f"data{number}.dvc").write_text(yaml.safe_dump(named), encoding="utf-8")
    identity = ["-c", "user.name=unroll", "-c", "user.email=unroll@localhost"]
    subprocess.run(["git", "add", "--all"], cwd=folder, check=True)
    subprocess.run(["git", *identity, "commit", "--quiet", "--message", "data"], cwd=folder, check=True)
    return folder


def _needed(client: MlflowClient, temporary: Path) -> set[str]:
    """DVC's md5s of all that the registered versions stand on: the outputs in their recorded dvc.lock, and the tags."""
    needed: set[str] = set()
    for _, version in lineage.list_versions(client, None, None):
        needed.update(lineage.data_hashes(version).values())
        path = lineage.recorded(client, version, LOCK_FILE, temporary) if CONTENT in version.tags else None
        if path is not None:
            stages = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
            needed.update(out["md5"] for stage in stages.values() for out in stage.get("outs", []) if "md5" in out)
    return needed
