"""Corrections that are files: `CLASS/DAY-HASH.mp4`, and `other/LABEL/DAY-HASH.mp4` for unknown classes.

A label becomes a folder's name only where it is a known class; any other is written with percent signs for all but
letters, digits, - and _. All of it is called under the folder's lock, so an unfinished file's writer is dead.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from urllib.parse import quote

from .correction import Correction, FeedbackError
from .day_files import OTHER, sync_folder

_NAME = re.compile(r"(?P<day>\d{4}-\d\d-\d\d)-(?P<identity>[0-9a-f]{32})\.[a-z0-9]+")
_UNFINISHED = ".unfinished"
_LONGEST = 200  # bytes of a folder's name
CLASS = re.compile(r"[^./\\\0][^/\\\0]{0,99}")  # what may be a folder's name


class ClipFiles:
    """The files below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def catch_up(self) -> None:
        """Delete what a stopped process has left unfinished; a line says so."""
        for path in self._folder.glob(f"{_UNFINISHED}*"):
            size = path.stat().st_size
            path.unlink()
            print(
                f"unroll: {path}: deleted an incomplete clip of {size:,} bytes, whose writer was stopped",
                file=sys.stderr,
            )

    def holds(self, correction: Correction, *, known: bool) -> bool:
        """Whether the same has been kept, on whatever day, also when its label was not known yet."""
        places = [self._place(correction.label, known=known)]
        if known and len(quoted := _quoted(correction.label)) <= _LONGEST:
            places.append(self._folder / OTHER / quoted)
        return any(any(folder.glob(f"*-{correction.identity}.*")) for folder in places)

    def sizes(self, day: str) -> tuple[int, int]:
        """Bytes of the files of a day, and of those of all days."""
        of_day, total = 0, 0
        for path in self._folder.rglob("*"):
            if (match := _NAME.fullmatch(path.name)) and path.is_file():
                size = path.stat().st_size
                total += size
                of_day += size if match["day"] == day else 0
        return of_day, total

    def write(self, correction: Correction, day: str, *, known: bool) -> None:
        """Write the file, under another name first. Raises OSError, and leaves nothing, where that cannot be."""
        folder = self._place(correction.label, known=known)
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = self._folder / f"{_UNFINISHED}{correction.suffix}"
        try:
            with unfinished.open("wb") as file:
                file.write(correction.content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(folder / f"{day}-{correction.identity}{correction.suffix}")
        finally:
            unfinished.unlink(missing_ok=True)
        for changed in (folder, folder.parent, self._folder):
            sync_folder(changed)

    def _place(self, label: str, *, known: bool) -> Path:
        if known:
            return self._folder / label
        name = _quoted(label)
        if len(name) > _LONGEST:
            raise FeedbackError(f"found a label of {len(name)} characters when percent-encoded; allowed: {_LONGEST}")
        return self._folder / OTHER / name


def _quoted(label: str) -> str:
    return quote(label, safe="").replace(".", "%2E").replace("~", "%7E")  # which an address may have as they are
