"""What a new version of a source did to what it held before, looked at before the pin moves."""

from __future__ import annotations

import filecmp
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from ..archives import extract, is_archive
from .compare import compare
from .fetched import Fetched, prefix_sha256
from .pins import Content, Pin
from .records import Records

_SHOWN = 3  # files that are named
_MAX_BYTES, _MAX_FILES = 4 * 2**30, 1000  # in an archive


@dataclass(slots=True)
class Findings:
    """Of each file in question, a line."""

    faults: list[str] = field(default_factory=list)  # the past was rewritten or lost
    notes: list[str] = field(default_factory=list)  # what is counted and told


def look(
    old: Pin, new: Pin, fetched: Fetched, records: Callable[[str], Records | None], today: date, raw: Path
) -> Findings:
    """Compare two versions of a source; the content of the new one lies in `fetched`, that of the old one there, in
    DVC's cache, or in the `raw` folder.
    """
    found = Findings(faults=[f"{name} is gone" for name in sorted(old.files.keys() - new.files.keys())])
    for name in sorted(old.files.keys() & new.files.keys()):
        before, after = old.files[name].content, new.files[name].content
        if before.sha256 != after.sha256:
            sides = fetched.find(before, raw=raw / name), fetched.find(after)
            faults, notes = _of_file(before, after, sides, records(name), today)
            found.faults += [f"{name}: {'; '.join(faults)}"] if faults else []
            found.notes += [f"{name}: {'; '.join(notes)}"] if notes else []
    return found


def in_words(lines: list[str]) -> str:
    """The first of some lines, and how many more there are."""
    left = len(lines) - _SHOWN
    return "; ".join(lines[:_SHOWN]) + (f"; and {left} more" if left > 0 else "")


def _of_file(
    before: Content, after: Content, sides: tuple[Path | None, Path | None], how: Records | None, today: date
) -> tuple[list[str], list[str]]:
    """The faults and the notes on one file, of which the `sides` are the older and the newer one."""
    old, new = sides
    if new is None:
        raise FileNotFoundError("a file that was just fetched is missing or damaged; refresh again")
    grown = only_grew(before, after, new)
    if grown and (how is None or how.form != "csv" or old is None):
        return [], []
    sizes = f"changed from {before.bytes:,} to {after.bytes:,} bytes"
    if how is None:
        return [sizes], []
    if old is None:
        return [f"{sizes}, and the earlier content is no longer here to compare with (`dvc pull` may have it)"], []
    try:
        if is_archive(old) and is_archive(new):
            return _of_archives(old, new, how, today)
        found = compare(old, new, how, today)
    except ValueError as error:
        return ([] if grown else [f"{sizes}, which cannot be compared by rows ({error})"]), []
    return found.faults(), found.notes()


def _of_archives(old: Path, new: Path, how: Records, today: date) -> tuple[list[str], list[str]]:
    """The faults and the notes on the files in two archives. Raises ValueError where they cannot be read."""
    faults: list[str] = []
    notes: list[str] = []
    with TemporaryDirectory() as temporary:
        sides = []
        for archive, name in ((old, "old"), (new, "new")):
            folder = Path(temporary, name)
            paths = extract(archive, folder, max_bytes=_MAX_BYTES, max_files=_MAX_FILES)
            sides.append({path.relative_to(folder).as_posix(): path for path in paths})
        before, after = sides
        faults += [f"{name} is gone" for name in sorted(before.keys() - after.keys())]
        for name in sorted(before.keys() & after.keys()):
            if not filecmp.cmp(before[name], after[name], shallow=False):
                found = compare(before[name], after[name], how, today)
                faults += [f"{name}: {fault}" for fault in found.faults()]
                notes += [f"{name}: {note}" for note in found.notes()]
    return faults, notes


def only_grew(before: Content, after: Content, new: Path) -> bool:
    """Whether a file begins with all that it had, up to the end of a line."""
    if after.bytes < before.bytes or prefix_sha256(new, before.bytes) != before.sha256:
        return False
    if before.bytes in (0, after.bytes):
        return True
    with new.open("rb") as file:
        file.seek(before.bytes - 1)
        last, following = file.read(1), file.read(1)
    return last == b"\n" or following in (b"\r", b"\n")
