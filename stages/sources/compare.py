"""What became of a file's past: an older version against a newer one, record by record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from .pins import counted
from .records import Record, Records, columns_of, day_of, has_come, read_records

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
    come: Count = field(default_factory=Count)  # records that had no value and have one now
    foretold: Count = field(default_factory=Count)  # records without a value that say something else of their day
    lost: Count = field(default_factory=Count)
    added: int = 0
    repeated: Count = field(default_factory=Count)  # added ones that came under a key which is there
    differing: Count = field(default_factory=Count)  # of those, the ones with other values
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
        if self.come.number:
            found.append(f"{counted(self.come.number, 'row')} without a value got one, the first {self.come.example}")
        if self.foretold.number:
            number = counted(self.foretold.number, "row")
            found.append(f"{number} without a value changed, the first {self.foretold.example}")
        if self.repeated.number:
            found.append(f"{counted(self.repeated.number, 'row')} repeated, the first {self.repeated.example}")
        if self.differing.number:
            found.append(f"{self.differing.number:,} of them with other values, the first {self.differing.example}")
        if self.ahead.number:
            dated = "is" if self.ahead.number == 1 else "are"
            found.append(f"{counted(self.ahead.number, 'row')} {dated} in the future, the first {self.ahead.example}")
        return found


def compare(old: Path, new: Path, how: Records, today: date) -> Compared:
    """Compare two versions of a file, which may hold some millions of records: their hashes are held in memory.

    Raises ValueError where one of them cannot be read.
    """
    before, after = columns_of(old, how), columns_of(new, how)
    columns = sorted({*before} & {*after} - {*how.dates}) if how.form == "csv" else None  # the days are in the keys
    found = Compared(
        lost_columns=[name for name in before if name not in after],
        new_columns=[name for name in after if name not in before],
    )
    known: dict[str, int] = {}
    to_come: set[str] = set()
    for record in read_records(old, how):
        known[record.key] = record.fingerprint(columns)
        if not has_come(record.fields, how):
            to_come.add(record.key)
    kept: set[str] = set()
    first_changed: Record | None = None
    for record in read_records(new, how):
        if record.key in known:
            kept.add(record.key)
            if known[record.key] == record.fingerprint(columns):
                continue
            if record.key in to_come:
                (found.come if has_come(record.fields, how) else found.foretold).add(record.name[:_SHOWN])
            else:
                first_changed = first_changed or record
                found.changed.add(record.name)
        else:
            _added(record, found, how, today, columns, known)
            known[record.key] = record.fingerprint(columns)
            kept.add(record.key)
    for record in read_records(old, how) if len(kept) < len(known) else ():
        if record.key not in kept:
            found.lost.add(record.name[:_SHOWN])
    if first_changed is not None:
        found.changed.example = _difference(old, first_changed, how, columns)
    return found


def _added(
    record: Record, found: Compared, how: Records, today: date, columns: Sequence[str] | None, known: dict[str, int]
) -> None:
    """Count a record that was not there before."""
    found.added += 1
    if record.repeats:
        name = record.name.removesuffix(record.key.removeprefix(record.repeats))[:_SHOWN]
        found.repeated.add(name)
        if known.get(record.repeats) != record.fingerprint(columns):
            found.differing.add(name)
    day = day_of(record.fields, how)
    if day is not None and day > today:
        found.ahead.add(record.name[:_SHOWN])


def _difference(old: Path, record: Record, how: Records, columns: Sequence[str] | None) -> str:
    """A changed record with the first of its fields that has another value: `2013-05-02: rides 5 → 7`."""
    before = next(one for one in read_records(old, how) if one.key == record.key)
    for name, value in record.fields.items():
        earlier = before.fields.get(name, "nothing")
        if earlier != value and (columns is None or name in columns):
            return f"{record.name[:_SHOWN]}: {name} {earlier[:_SHOWN]} → {value[:_SHOWN]}"
    return record.name[:_SHOWN]
