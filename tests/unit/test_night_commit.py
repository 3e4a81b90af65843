"""The commit of a night: a branch that moves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.night.commit import BRANCH, CommitRefused, check_committable, commit_night
from tests.unit.repositories import commit_all, git


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "main"
    (root / "sources").mkdir(parents=True)
    for name in ("params.yaml", "dvc.lock", "code.py", "sources/forecast.json", "sources/video.json"):
        (root / name).write_text("one\n")
    (root / ".gitignore").write_text("ignored\n")
    commit_all(root)
    return root


def state(root: Path) -> tuple[str, ...]:
    """HEAD, the branch, the index to the byte, and the files."""
    files = "".join(path.read_text() for path in sorted(root.rglob("*")) if path.is_file() and ".git/" not in str(path))
    index = (root / ".git" / "index").read_bytes().hex()
    return git(root, "rev-parse", "HEAD"), git(root, "symbolic-ref", "HEAD"), index, files


def after_a_night(root: Path, text: str = "two\n") -> None:
    (root / "dvc.lock").write_text(text)
    (root / "sources" / "forecast.json").write_text(text)
    (root / "sources" / "sketch.json").write_text(text)
    (root / "sources" / "video.json").unlink(missing_ok=True)


def test_a_commit_holds_pins_lock_and_params_and_leaves_the_checkout_alone(root: Path) -> None:
    after_a_night(root)
    (root / "ignored").write_text("no\n")
    git(root, "status")  # refreshes the index
    before = state(root)
    commit = commit_night(root, "Night of 2026-12-01\n\nforecast: 92 lines more")
    assert state(root) == before
    assert git(root, "rev-parse", BRANCH) == commit
    assert git(root, "rev-parse", f"{BRANCH}^@") == before[0]
    assert git(root, "log", "-1", "--format=%B", BRANCH).startswith("Night of 2026-12-01\n\nforecast: 92 lines more")
    assert git(root, "diff", "--name-status", "HEAD", BRANCH).split() == [
        *("M", "dvc.lock", "M", "sources/forecast.json", "A", "sources/sketch.json", "D", "sources/video.json")
    ]


def test_the_next_night_stands_on_the_last_one_and_none_without_news(root: Path) -> None:
    after_a_night(root)
    first = commit_night(root, "first")
    assert commit_night(root, "nothing came") is None
    after_a_night(root, "three\n")
    second = commit_night(root, "second")
    assert git(root, "rev-parse", f"{second}^@") == first
    assert git(root, "rev-parse", BRANCH) == second


def test_code_that_moved_on_is_in_the_next_commit_and_its_history(root: Path) -> None:
    after_a_night(root)
    first = commit_night(root, "first")
    (root / "code.py").write_text("two\n")
    git(root, "commit", "--quiet", "--message", "code", "code.py")
    second = commit_night(root, "second")
    assert git(root, "show", f"{second}:code.py") == "two"
    assert git(root, "rev-parse", f"{second}^@").split() == [first, git(root, "rev-parse", "HEAD")]
    assert commit_night(root, "nothing came") is None


@pytest.mark.parametrize("change", ["edited", "staged", "new"])
def test_code_that_differs_from_head_is_refused(root: Path, change: str) -> None:
    after_a_night(root)
    name = "new.py" if change == "new" else "code.py"
    (root / name).write_text("other\n")
    if change == "staged":
        git(root, "add", name)
    with pytest.raises(CommitRefused, match=f"found uncommitted changes in {name}; allowed: code as in HEAD"):
        commit_night(root, "no")
    assert git(root, "branch", "--list", BRANCH) == ""


def test_a_branch_that_is_checked_out_is_refused(root: Path, tmp_path: Path) -> None:
    git(root, "branch", BRANCH)
    git(root, "worktree", "add", "--quiet", str(tmp_path / "other"), BRANCH)
    with pytest.raises(CommitRefused, match="this branch is checked out"):
        check_committable(root)
    git(root, "worktree", "remove", str(tmp_path / "other"))
    check_committable(root)


def test_a_branch_that_another_has_moved_meanwhile_stays(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after_a_night(root)
    first = commit_night(root, "first")
    after_a_night(root, "three\n")
    monkeypatch.setattr("flows.night.commit._tip", lambda root: git(root, "rev-parse", "HEAD"))
    with pytest.raises(CommitRefused, match="another process has moved it"):
        commit_night(root, "second")
    assert git(root, "rev-parse", BRANCH) == first


def test_a_container_without_a_git_user_commits_as_the_night(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(root, "config", "--unset", "user.email")
    git(root, "config", "--unset", "user.name")
    git(root, "config", "user.useConfigOnly", "true")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    after_a_night(root)
    commit_night(root, "first")
    assert git(root, "log", "-1", "--format=%an <%ce>", BRANCH) == "unroll nightly <nightly@localhost>"
