"""The newest replay of a task, as `flows.replay` has left it in the checkout, for a night's report."""

from __future__ import annotations

import shutil
from pathlib import Path

FOLDER = Path("replay")  # a folder a task
REPORT, PICTURE = "report.md", "replay.png"


def take_replay(root: Path, task: str, folder: Path) -> str:
    """The report of the task's replay, in Markdown, with a copy of its picture in `folder`; empty, and no picture,
    where there was none.
    """
    found = root / FOLDER / task
    (folder / PICTURE).unlink(missing_ok=True)
    if not all((found / name).is_file() for name in (REPORT, PICTURE)):
        return ""
    shutil.copyfile(found / PICTURE, folder / PICTURE)
    return (found / REPORT).read_text(encoding="utf-8").strip()
