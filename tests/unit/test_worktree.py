"""Checkouts beside the main one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from dvc.config import Config

from flows.execution.worktree import (
    WorktreeError,
    changed_pins,
    commit_of,
    fetch,
    in_use,
    remove_abandoned,
    snapshot,
    worktree,
    write_pin,
)
from tests.unit.repositories import commit_all, git

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "main"
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text("['remote \"near\"']\n    url = ../store\n")
    (root / ".dvc" / "config.local").write_text(
        "['remote \"far\"']\n    url = s3://far\n    secret_access_key = secret\n"
    )
    (root / ".gitignore").write_text("/.prefect/\n/.dvc/tmp/\n/.dvc/config.local\nignored\n")
    for name in ("params.yaml", "dvc.lock", "code.py", "old.py"):
        (root / name).write_text(f"{name}\n")
    commit_all(root)
    return root


def test_a_snapshot_holds_edits_and_new_files_and_changes_nothing(root: Path) -> None:
    (root / "code.py").write_text("edited\n")
    (root / "new.py").write_text("new\n")
    (root / "ignored").write_text("no\n")
    (root / "old.py").unlink()
    before = git(root, "status", "--porcelain")
    with worktree(root, snapshot(root)) as folder:
        files = {path.name for path in folder.iterdir()} - {".git", ".dvc", ".gitignore"}
        assert files == {"params.yaml", "dvc.lock", "code.py", "new.py"}
        assert (folder / "code.py").read_text() == "edited\n"
        assert git(folder, "rev-parse", "HEAD") == git(root, "rev-parse", "HEAD")
    assert git(root, "status", "--porcelain") == before
    assert not folder.exists()
    assert len(git(root, "worktree", "list").splitlines()) == 1


def test_a_worktree_shares_cache_remotes_and_credentials(root: Path) -> None:
    with worktree(root, "HEAD") as folder:
        config = Config(dvc_dir=str(folder / ".dvc"))
        assert config["cache"]["dir"] == str(root / ".dvc" / "cache")
        assert config["remote"]["near"]["url"] == str(root / "store")
        assert config["remote"]["far"]["secret_access_key"] == "secret"
        assert (folder / ".dvc" / "config.local").stat().st_mode & 0o077 == 0


def test_a_worktree_is_removed_when_the_work_fails(root: Path) -> None:
    with pytest.raises(RuntimeError, match="failed"), worktree(root, "HEAD") as folder:
        raise RuntimeError("failed")
    assert not folder.exists()


def test_only_params_lock_and_pins_may_differ_from_the_commit(root: Path) -> None:
    (root / "params.yaml").write_text("other\n")
    (root / "dvc.lock").write_text("other\n")
    assert commit_of(root) == git(root, "rev-parse", "HEAD")
    (root / "sources").mkdir()
    (root / "sources" / "sketch.json").write_text("{}\n")
    assert commit_of(root) == git(root, "rev-parse", "HEAD")
    assert changed_pins(root) == {"sources/sketch.json": "{}\n"}
    (root / "new.py").write_text("new\n")
    git(root, "mv", "old.py", "moved.py")
    with pytest.raises(WorktreeError, match=r"commit first: moved\.py, new\.py, old\.py$"):
        commit_of(root)


@pytest.mark.parametrize("name", ["stages/x.json", "sources/../stages/x.json", "sources/x.py", "/sources/x.json"])
def test_an_order_lays_out_pins_and_nothing_else(tmp_path: Path, name: str) -> None:
    write_pin(tmp_path, "sources/sketch.json", "{}\n")
    assert (tmp_path / "sources" / "sketch.json").read_text() == "{}\n"
    with pytest.raises(WorktreeError, match="not a pin of a source"):
        write_pin(tmp_path, name, "{}\n")


def test_a_clone_fetches_the_commit_it_is_asked_for(root: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(root), "clone")
    (root / "code.py").write_text("two\n")
    git(root, "commit", "--quiet", "--all", "--message", "two")
    commit = git(root, "rev-parse", "HEAD")
    fetch(tmp_path / "clone", commit)
    with worktree(tmp_path / "clone", commit) as folder:
        assert (folder / "code.py").read_text() == "two\n"
        assert git(folder, "rev-parse", "HEAD") == commit


def test_a_commit_that_nobody_has_is_named(root: Path) -> None:
    with pytest.raises(WorktreeError, match="commit 1234.* is neither in .* nor at its origin; push it first"):
        fetch(root, "1234" * 10)


def test_what_nobody_holds_is_removed_by_the_next_run(root: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom flows.execution.worktree import worktree\n"
        "with worktree(Path(sys.argv[1]), 'HEAD') as folder:\n"
        "    print(folder, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(root)], cwd=REPOSITORY, capture_output=True, text=True)
    abandoned = Path(done.stdout.strip())
    assert done.returncode == -9
    assert (abandoned / "code.py").exists()
    with worktree(root, "HEAD") as folder:
        assert not abandoned.exists()
        assert (folder / "code.py").exists()
    assert not list((root / ".prefect" / "worktrees").iterdir())
    assert len(git(root, "worktree", "list").splitlines()) == 1


def test_a_worktree_in_use_stays(root: Path) -> None:
    with worktree(root, "HEAD") as folder:
        remove_abandoned(root)
        assert (folder / "code.py").exists()


def test_a_worktree_stays_until_its_supervisor_has_ended_all(root: Path) -> None:
    """As after a `kill -9` of the flow, while a stage still saves its state."""
    folder = root / ".prefect" / "worktrees" / "abc"
    folder.mkdir(parents=True)
    (marker := folder.with_name("abc.in-use")).touch()
    with in_use(folder) as held:
        supervisor = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=held)
    remove_abandoned(root)
    assert folder.exists()
    supervisor.communicate(b"\n")
    remove_abandoned(root)
    assert not folder.exists()
    assert not marker.exists()
