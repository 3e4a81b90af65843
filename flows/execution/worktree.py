"""A checkout beside the main one, for a run that must not touch it: other params, or another commit.

It is a git worktree with DVC's cache, remotes and credentials of the main checkout. Stages find the main checkout
through git, so `.resume` and the MLflow store are its own, too.

Beside it lies a marker, whose lock the flow shares with the supervisors of what runs there. Where a `kill -9` ended
them all, nobody holds it, and the next run removes the worktree.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from stages.paths import project_root
from stages.sources.pins import FOLDER

from .locks import opened, try_lock

_MARKER = ".in-use"  # after the name of the worktree's folder
EXPERIMENT_MAY_CHANGE = frozenset({"params.yaml", "dvc.lock"})
_PIN = re.compile(rf"{FOLDER.as_posix()}/(?:weights/)?[a-z0-9_]+\.json")  # which `stages.refresh` moves


class WorktreeError(RuntimeError):
    """A worktree cannot be made; the message says what git or DVC said."""


@contextmanager
def worktree(root: Path, tree: str) -> Iterator[Path]:
    """A folder with the files of `tree` (a commit or a tree) on top of the commit that `root` stands on.

    It is removed afterwards; what DVC put into the cache stays.
    """
    remove_abandoned(root)
    folder = _worktrees(root) / uuid.uuid4().hex[:12]
    folder.parent.mkdir(parents=True, exist_ok=True)
    base = tree if _is_commit(root, tree) else "HEAD"
    with ExitStack() as stack:
        with _exclusive(root):  # two at once were seen to trip over git's own locks
            _marker(folder).touch()
            stack.enter_context(in_use(folder))
            stack.callback(_remove, root, folder)
            git(root, "worktree", "add", "--quiet", "--detach", "--no-checkout", str(folder), base)
        git(folder, "checkout", "--quiet", tree, "--", ".")
        _share_dvc(project_root(root), folder)
        yield folder


@contextmanager
def in_use(folder: Path) -> Iterator[tuple[int, ...]]:
    """Inside the block nobody takes a worktree for abandoned. Gives the descriptors to hand on to the supervisor of
    what runs there: none for a folder that is no worktree of ours.
    """
    if not _marker(folder).exists():
        yield ()
        return
    with opened(_marker(folder)) as descriptor:
        try_lock(descriptor, shared=True)
        yield (descriptor,)


def remove_abandoned(root: Path) -> None:
    """Remove the worktrees that no process holds any more."""
    for marker in sorted(_worktrees(root).glob(f"*{_MARKER}")):
        with opened(marker) as descriptor:
            with _exclusive(root):  # not while one is being made
                abandoned = try_lock(descriptor, shared=False)
            if abandoned:
                _remove(root, marker.with_suffix(""))


def snapshot(root: Path) -> str:
    """The working tree's files as a tree of git's, new ones that are not ignored included. Nothing there changes."""
    index = Path(git(root, "rev-parse", "--path-format=absolute", "--git-path", "index"))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "index"
        shutil.copy(index, copy)
        environment = {"GIT_INDEX_FILE": str(copy)}
        git(root, "add", "--all", environment=environment)
        return git(root, "write-tree", environment=environment)


def keep_tree(root: Path, name: str, tree: str) -> None:
    """Have git keep the tree of a study, which nothing else names."""
    git(root, "update-ref", f"refs/unroll/studies/{name}", tree)


def commit_of(root: Path) -> str:
    """The commit that the checkout stands on. Raises WorktreeError where more than params, lock and pins differs.

    A worker elsewhere gets a commit, params.yaml, dvc.lock and the pins that differ, so that nothing else may count.
    """
    changed = [name for name in differing(root) if name not in EXPERIMENT_MAY_CHANGE and not _PIN.fullmatch(name)]
    if changed:
        names = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        raise WorktreeError(f"workers on other machines run committed code only; commit first: {names}")
    return git(root, "rev-parse", "HEAD")


def differing(root: Path) -> list[str]:
    """The files that differ from HEAD, in the index or beside it, new ones that are not ignored included; sorted."""
    status = git(root, "status", "--porcelain", "--no-renames", "--untracked-files=all", "-z", strip=False)
    return sorted({line[3:] for line in status.split("\0") if line})


def changed_pins(root: Path) -> dict[str, str]:
    """The pins of sources and of weights that differ from the commit that the checkout stands on: path → text."""
    return {name: (root / name).read_text(encoding="utf-8") for name in differing(root) if _PIN.fullmatch(name)}


def write_pin(root: Path, name: str, text: str) -> None:
    """Lay out a pin that was sent. Raises WorktreeError for any other file: what orders a stage writes nothing else."""
    if not _PIN.fullmatch(name):
        raise WorktreeError(
            f"{name}: not a pin of a source; allowed: {FOLDER.as_posix()}/TASK.json or its weights/TASK.json"
        )
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")


def fetch(root: Path, commit: str) -> None:
    """Have a commit in this clone. Raises WorktreeError where neither the clone nor its origin has it."""
    if _is_commit(root, commit):
        return
    with _exclusive(root):
        # The branches first: a server need not hand out a commit by its name.
        _try_git(root, "fetch", "--quiet", "origin")
        if not _is_commit(root, commit):
            _try_git(root, "fetch", "--quiet", "origin", commit)
    if not _is_commit(root, commit):
        raise WorktreeError(f"commit {commit} is neither in {root} nor at its origin; push it first")


@contextmanager
def experiments_lock(root: Path) -> Iterator[None]:
    """Save one experiment at a time: DVC keeps where it stands in refs that all worktrees share."""
    with FileLock(_locks(root) / "experiments.lock"):
        try:
            yield
        finally:
            # `dvc exp save` leaves this one behind in a worktree.
            _try_git(root, "update-ref", "-d", "refs/exps/exec/EXEC_HEAD")


def read_file(root: Path, tree: str, path: Path) -> str:
    """The text of a file in one of git's trees. Raises WorktreeError where the tree has no such file."""
    return git(root, "show", f"{tree}:{path.as_posix()}", strip=False)


def _worktrees(root: Path) -> Path:
    return project_root(root) / ".prefect" / "worktrees"


def _marker(folder: Path) -> Path:
    return folder.with_name(folder.name + _MARKER)


def _remove(root: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with _exclusive(root):
        git(root, "worktree", "prune")
    if not folder.exists():
        _marker(folder).unlink(missing_ok=True)


def _share_dvc(main: Path, folder: Path) -> None:
    """Give a worktree DVC's configuration of the main checkout, with paths that hold from everywhere."""
    from configobj import ConfigObj
    from dvc.config import Config
    from dvc.config_schema import RelPath

    config = Config(dvc_dir=str(main / ".dvc"))
    local = ConfigObj(str(main / ".dvc" / "config.local"))
    for section, values in config.items():
        if section == "remote":
            for name, options in values.items():
                _set(local, f'remote "{name}"', {k: v for k, v in options.items() if isinstance(v, RelPath)})
        else:
            _set(local, section, {k: v for k, v in values.items() if isinstance(v, RelPath)})
    _set(local, "cache", {"dir": config["cache"].get("dir") or str(main / ".dvc" / "cache")})
    target = folder / ".dvc" / "config.local"
    target.touch(mode=0o600)  # it may hold credentials
    local.filename = str(target)
    local.write()


def _set(config: Any, section: str, values: dict[str, str]) -> None:
    if values:
        config.setdefault(section, {}).update({key: str(value) for key, value in values.items()})


def _is_commit(root: Path, name: str) -> bool:
    return _try_git(root, "cat-file", "-e", f"{name}^{{commit}}").returncode == 0


@contextmanager
def _exclusive(root: Path) -> Iterator[None]:
    with FileLock(_locks(root) / "git.lock"):
        yield


def _locks(root: Path) -> Path:
    folder = project_root(root) / ".dvc" / "tmp" / "flows"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def git(root: Path, *arguments: str, environment: dict[str, str] | None = None, strip: bool = True) -> str:
    """What a git command prints. Raises WorktreeError where it fails."""
    answer = _try_git(root, *arguments, environment=environment)
    if answer.returncode:
        raise WorktreeError(f"git {arguments[0]} in {root}: {answer.stderr.strip()}")
    return answer.stdout.strip() if strip else answer.stdout


def _try_git(
    root: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(root), *arguments]
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", **(environment or {})}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, errors="replace")
