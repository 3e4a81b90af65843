"""The image: its Dockerfile, and the files that `docker build` would see."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_linter_finds_nothing_in_the_dockerfile():
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, "deploy/Dockerfile"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_holds_what_git_has_and_nothing_that_it_ignores(tmp_path):
    tracked = _git("ls-files").splitlines()
    ignored = [
        line.strip("/").replace("*", "x") + ("/file" if line.endswith("/") else "")
        for line in (REPOSITORY / ".gitignore").read_text("utf-8").splitlines()
    ]
    secret = [".dvc/config.local", ".git/config", ".env", ".env.local", ".netrc"]
    local = [".dvc/cache/files/md5/00/1", ".dvc/tmp/lock", ".prefect/prefect.db"]
    local += [".git/worktrees/a/HEAD", ".git/hooks/post-checkout", ".git/logs/HEAD", ".git/FETCH_HEAD"]
    kept = [*tracked, ".git/HEAD", ".git/objects/pack/1.pack", ".git/refs/heads/main"]
    left_out = [*ignored, "stages/__pycache__/a.pyc", "mlflow.db-wal", *secret, *local]
    for path in kept + left_out:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    context = _context(tmp_path)
    assert set(kept) - context == set()
    assert set(left_out) & context == set()


def _context(folder: Path) -> set[str]:
    """The files of a folder that `docker build` would see."""
    from docker.utils.build import exclude_paths

    lines = (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    return set(exclude_paths(str(folder), patterns))


def _git(*arguments: str) -> str:
    git = shutil.which("git")
    assert git
    return subprocess.run([git, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
