"""What became of a file's past: an older version against a newer one, record by record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from .pins import counted
from .records import Record, Records, columns_of, read_records

_SHOWN = 60  # characters of a text in a message


@dataclass(slots=True)
class Count:
    """How many, and the first of them in words."""

    number: int = 0
    example: str = ""

    def add(self, example: str) -> None:
        self.number += 1
        self.example = self.example or example


@dataclass(slots=True)
class Compared:
    """What the newer version of a file changed."""

    lost_columns: list[str] = field(default_factory=list)
    new_columns: list[str] = field(default_factory=list)
    changed: Count = field(default_factory=Count)  # records with other values under the same key
    lost: Count = field(default_factory=Count)
    added: int = 0
    repeated: Count = field(default_factory=Count)  # that came under a key which is there, with other values
    ahead: Count = field(default_factory=Count)  # added ones whose day has not come yet

    def faults(self) -> list[str]:
        """What was taken back or written anew of the past, each with an example; none where it only grew."""
        found = [f"lost the column {name}" for name in self.lost_columns]
        if self.changed.number:
            found.append(f"{counted(self.changed.number, 'row')} changed, the first {self.changed.example}")
        if self.lost.number:
            found.append(f"{counted(self.lost.number, 'row')} lost, the first {self.lost.example}")
        return found

    def notes(self) -> list[str]:
        """What is only told."""
        found = [f"has the new column {name}" for name in self.new_columns]
        if self.repeated.number:
            again = f"{counted(self.repeated.number, 'row')} came again with other values"
            found.append(f"{again}, the first {self.repeated.example}")
        if self.ahead.number:
            lie = "lies" if self.ahead.number == 1 else "lie"
            found.append(f"{counted(self.ahead.number, 'row')} {lie} in the future, the first {self.ahead.example}")
        return found


def compare(old: Path, new: Path, how: Records, today: date) -> Compared:
    """Compare two versions of a file, which may hold some millions of records: their hashes are held in memory.

    Raises ValueError where one of them cannot be read.
    """
    before, after = columns_of(old, how), columns_of(new, how)
    columns = sorted({*before} & {*after}) if how.form == "csv" else None
    found = Compared(
        lost_columns=[name for name in before if name not in after],
        new_columns=[name for name in after if name not in before],
    )
    known = {record.key: record.fingerprint(columns) for record in read_records(old, how)}
    kept: set[str] = set()
    first_changed: Record | None = None
    for record in read_records(new, how):
        if record.key in known:
            kept.add(record.key)
            if known[record.key] != record.fingerprint(columns):
                first_changed = first_changed or record
                found.changed.add(record.key)
        else:
            _added(record, found, how, today, columns, known)
            known[record.key] = record.fingerprint(columns)
            kept.add(record.key)
    for key in known:
        if key not in kept:
            found.lost.add(key[:_SHOWN])
    if first_changed is not None:
        found.changed.example = _difference(old, first_changed, how, columns)
    return found


def _added(
    record: Record, found: Compared, how: Records, today: date, columns: Sequence[str] | None, known: dict[str, int]
) -> None:
    """Count a record that was not there before."""
    found.added += 1
    if record.repeats and known.get(record.repeats) != record.fingerprint(columns):
        found.repeated.add(record.repeats[:_SHOWN])
    day = _day(record, how)
    if day is not None and day > today:
        found.ahead.add(record.key[:_SHOWN])


def _day(record: Record, how: Records) -> date | None:
    if not how.dates or not all(name in record.fields for name in how.dates):
        return None
    try:
        return datetime.strptime("-".join(record.fields[name] for name in how.dates), how.date_format).date()
    except ValueError:
        return None  # preprocess counts it


def _difference(old: Path, record: Record, how: Records, columns: Sequence[str] | None) -> str:
    """A changed record with the first of its fields that has another value: `2013-05-02: rides 5 → 7`."""
    before = next(one for one in read_records(old, how) if one.key == record.key)
    for name, value in record.fields.items():
        earlier = before.fields.get(name, "nothing")
        if earlier != value and (columns is None or name in columns):
            return f"{record.key[:_SHOWN]}: {name} {earlier[:_SHOWN]} → {value[:_SHOWN]}"
    return record.key[:_SHOWN]
