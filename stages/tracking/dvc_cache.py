"""Where DVC keeps files by their md5."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Where DVC's cache of this checkout keeps its files. Raises RuntimeError where DVC does not say."""
    done = subprocess.run([sys.executable, "-m", "dvc", "cache", "dir"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"dvc cache dir: {done.stderr.strip() or done.stdout.strip()}")
    return Path(done.stdout.strip()).absolute() / "files" / "md5"


def cache_path(cache: Path, md5: str) -> Path:
    """The file of DVC's cache that has this md5."""
    return cache / md5[:2] / md5[2:]
