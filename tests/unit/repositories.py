"""Repositories of a test's own."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git(folder: Path, *arguments: str) -> str:
    """What git prints, without the line's end."""
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.rstrip("\n")


def commit_all(folder: Path) -> None:
    """Make a folder a repository whose first commit holds all its files but the ignored ones."""
    git(folder, "init", "--quiet")
    git(folder, "config", "user.email", "test@example.org")
    git(folder, "config", "user.name", "Test")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "one")
