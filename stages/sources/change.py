"""What has changed between the pin that a download took and the one there is now, in words."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from . import pins
from .fetched import Fetched
from .pins import counted


def change_in_words(path: Path, md5: str) -> str:
    """From the pin of this md5, as dvc.lock names it, to the one at `path`: `2 of 345 files changed, 92 lines more`."""
    new = pins.read(path)
    earlier = Fetched(path.parent.parent).pin(md5) or _committed(path)
    if earlier is None or hashlib.md5(earlier.encode(), usedforsecurity=False).hexdigest() != md5:
        return f"new pin, {counted(len(new.files), 'file')}"
    try:
        old = pins.parse(earlier)
    except ValueError:  # an older format
        return f"new pin, {counted(len(new.files), 'file')}"
    if old.source != new.source:
        said = "another source" if old.files else "pinned for the first time"
        return f"{said}, {counted(len(new.files), 'file')}" if new.files else "a sample"
    return pins.difference(old, new)[2]


def _committed(path: Path) -> str | None:
    """The text that the last commit has."""
    command = ["git", "-C", str(path.parent), "show", f"HEAD:./{path.name}"]
    answer = subprocess.run(command, capture_output=True, check=False)
    return answer.stdout.decode(errors="replace") if answer.returncode == 0 else None
