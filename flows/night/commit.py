"""The commit of a night, on a branch of its own: what came, as pins and params, and what became of it, as dvc.lock.

HEAD, index and files stay as they are: the commit is made with a temporary index, and the branch moves only from where
it was seen. Nothing is pushed.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from stages.sources.pins import FOLDER

from ..execution.worktree import WorktreeError, differing, git

BRANCH = "unroll/nightly"
_REF = f"refs/heads/{BRANCH}"
_COMMITTED = (FOLDER.as_posix(), "dvc.lock", "params.yaml")
_NOBODY = "0" * 40  # update-ref: the branch must not be there yet
_NAME, _ADDRESS = "unroll nightly", "nightly@localhost"  # where git knows no user


class CommitRefused(RuntimeError):
    """A night cannot be committed; the message says why, in a line."""


def check_committable(root: Path) -> None:
    """Raise CommitRefused where the code differs from HEAD, so that a commit would say of it what is not true, or where
    the branch is checked out anywhere, whose files would no longer be those of its commit.
    """
    changed = [name for name in differing(root) if not _is_committed(name)]
    if changed:
        names = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        raise CommitRefused(f"no commit on {BRANCH}: found uncommitted changes in {names}; allowed: code as in HEAD")
    worktrees = git(root, "worktree", "list", "--porcelain").splitlines()
    if f"branch {_REF}" in worktrees:
        raise CommitRefused(
            f"no commit on {BRANCH}: this branch is checked out; allowed: another branch, or a detached HEAD"
        )


def commit_night(root: Path, message: str) -> str | None:
    """Commit pins, dvc.lock and params.yaml as they stand, with the code of HEAD; the commit, or None where the branch
    holds all that already.

    Its parent is the branch's tip, else HEAD; HEAD is a second one where the branch does not come from it. Raises
    CommitRefused as `check_committable` does, and where another process has moved the branch.
    """
    check_committable(root)
    head, tip = git(root, "rev-parse", "HEAD"), _tip(root)
    with tempfile.TemporaryDirectory() as folder:
        environment = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git(root, "read-tree", "HEAD", environment=environment)
        for name in _COMMITTED:
            known = git(root, "ls-files", "--cached", "--", name, environment=environment)
            if known or (root / name).exists():
                git(root, "add", "--all", "--", name, environment=environment)
        tree = git(root, "write-tree", environment=environment)
    parents = [tip] if tip else [head]
    if tip and not _contains(root, tip, head):
        parents.append(head)
    if tree == git(root, "rev-parse", f"{parents[0]}^{{tree}}") and len(parents) == 1:
        return None
    options = [option for parent in parents for option in ("-p", parent)]
    commit = git(root, "commit-tree", tree, *options, "-m", message, environment=_identity(root))
    try:
        git(root, "update-ref", "-m", "unroll: nightly run", _REF, commit, tip or _NOBODY)
    except WorktreeError as error:
        raise CommitRefused(f"no commit on {BRANCH}: another process has moved it: {error}") from None
    return commit


def _is_committed(name: str) -> bool:
    return name in _COMMITTED or name.startswith(f"{FOLDER.as_posix()}/")


def _tip(root: Path) -> str:
    try:
        return git(root, "rev-parse", "--verify", "--quiet", f"{_REF}^{{commit}}")
    except WorktreeError:
        return ""


def _contains(root: Path, tip: str, commit: str) -> bool:
    command = ["git", "-C", str(root), "merge-base", "--is-ancestor", commit, tip]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _identity(root: Path) -> dict[str, str]:
    """Who commits, where git knows no user: a night may run in a container."""
    try:
        git(root, "var", "GIT_COMMITTER_IDENT")
        git(root, "var", "GIT_AUTHOR_IDENT")
    except WorktreeError:
        return {
            f"GIT_{role}_{part}": value
            for role in ("AUTHOR", "COMMITTER")
            for part, value in (("NAME", _NAME), ("EMAIL", _ADDRESS))
        }
    return {}
