"""The output of a task's `prepare`: sequences, rejections with their reason, a description of the data."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from ..data.files import write_json
from ..data.prepared import DESCRIPTION_NAME
from ..data.store import FILE_NAME, SequenceWriter, schema
from .summary import LOUD_SHARE, Tally, Units, amount, changes, rejections, shares

REJECTED_NAME = "rejected.parquet"
_REJECTED = pa.schema(
    {"id": pa.string(), "file": pa.string(), "rule": pa.string(), "reason": pa.string(), "content": pa.string()}
)
_CONTENT_LIMIT = 2000  # characters of a rejected record that are kept


class PreparationError(ValueError):
    """The raw data cannot be prepared; the message says which rule it broke."""


class Preparation:
    """The output folder of one preprocess stage: `sequences.arrow`, `description.json`, `rejected.parquet`.

    A context manager. On a clean end it checks that something was accepted and that at most `max_rejected_share` (0 to
    1) of the values, and of the rows, were rejected, and raises PreparationError otherwise. A ValueError that comes
    through it becomes one that says what had been rejected until then.
    """

    def __init__(self, folder: Path, *, max_rejected_share: float) -> None:
        self.folder = folder
        self._max_rejected_share = max_rejected_share
        self._units = Units()
        self._waiting: list[dict[str, str]] = []  # rejections that are not yet in the file
        self._rejected: defaultdict[str, Tally] = defaultdict(Tally)
        self._repaired: defaultdict[str, Tally] = defaultdict(Tally)
        self._filled: defaultdict[str, Tally] = defaultdict(Tally)
        self._rejected_rows = 0
        self._accepted: int | None = None
        self._writer: SequenceWriter | None = None
        self._described = False
        self.kept = ""  # how much of the work was done before, in words: no output tells it

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._parquet = pq.ParquetWriter(self.folder / f".{REJECTED_NAME}.partial", _REJECTED)
        return self

    def store(
        self,
        columns: Mapping[str, pa.DataType],
        *,
        rows_per_batch: int = 1024,
        metadata: Mapping[str, Any] | None = None,
    ) -> SequenceWriter:
        """The store to append rows to, opened by `with`; `columns` are the task's own, beside id, split and length."""
        if self._writer is not None:
            raise PreparationError("a preparation writes one store; this one has already been opened")
        path = self.folder / FILE_NAME
        self._writer = SequenceWriter(path, schema(columns), rows_per_batch=rows_per_batch, metadata=metadata)
        return self._writer

    def units(self, values: str, rows: str = "") -> None:
        """What the task counts, in the plural: `drawings`; `days` of `series` where a row stands for many values."""
        self._units = Units(values, rows)

    def reject(
        self, *, id: str, file: str, rule: str, reason: str, content: str = "", values: int = 1, rows: int = 0
    ) -> None:
        """Set something aside. `rule` is the short name it is counted under, `reason` says what was found and allowed.

        `values` is how many are lost with it, where one line stands for many, such as all days of a series. Where rows
        and values are two things (`units`), `rows` says how many rows of the store are lost, too; of a row whose values
        have been rejected one by one, `values` is 0.
        """
        if not re.fullmatch(r"[a-z][a-z0-9_]*", rule):
            raise ValueError(f"rule {rule!r}: allowed: lower-case letters, digits and underscores")
        row = {"id": id, "file": file, "rule": rule, "reason": reason, "content": content[:_CONTENT_LIMIT]}
        self._waiting.append(row)
        place = id if id.startswith(file) else f"{file}, {id}"
        self._rejected[rule].add(values, f"{place}: {reason}", rows=rows)
        self._rejected_rows += rows
        if len(self._waiting) >= 1000:
            self._flush()

    def repair(self, rule: str, count: int = 1, *, example: str = "", doubtful: bool = False) -> None:
        """Count values that were kept after a repair by a stated rule; `example` is the first of them.

        A `doubtful` one hints, where there are many, at something that no rule repairs: the closing line is a warning.
        """
        tally = self._repaired[rule]
        tally.add(count, example)
        tally.doubtful = doubtful

    def fill(self, rule: str, count: int, *, of: int, unit: str = "", example: str = "") -> None:
        """Count values that were made up, such as those of missing days: `count` among the `of` that there are now.

        Called for each row, also with a count of 0, so that the share is of all. `unit` is what `of` counts, where
        that is not the values of `units`.
        """
        tally = self._filled[rule]
        tally.add(count, example)
        tally.of += of
        tally.unit = unit or self._units.values

    def accept(self, values: int) -> None:
        """Count accepted values, in a task where a value is not a row of the store: a series has many days."""
        self._accepted = (self._accepted or 0) + values

    def count_kept(self, count: int, of: int, unit: str) -> None:
        """So many of the parts of the raw data were as an earlier preparation had left them; `unit` in the plural."""
        self.kept = f"{count:,} of {of:,} {unit} reused from earlier preparations"

    def describe(self, description: Mapping[str, Any]) -> None:
        """Write what the network and the registered model must know of the data: classes, vocabulary, scales."""
        write_json(self.folder / DESCRIPTION_NAME, description)
        self._described = True

    def _flush(self) -> None:
        if self._waiting:
            self._parquet.write_table(pa.Table.from_pylist(self._waiting, schema=_REJECTED))
            self._waiting.clear()

    @property
    def rows(self) -> int:
        """The store's."""
        return self._writer.count if self._writer else 0

    @property
    def accepted(self) -> int:
        """The values."""
        return self.rows if self._accepted is None else self._accepted

    @property
    def rejected(self) -> int:
        """The values."""
        return sum(tally.count for tally in self._rejected.values())

    @property
    def rejected_share(self) -> float:
        """Of the values or of the rows, whichever is larger; 0 to 1."""
        pairs = (self.rejected, self.accepted), (self._rejected_rows, self.rows)
        return max(lost / (lost + kept) if lost else 0.0 for lost, kept in pairs)

    def metrics(self) -> dict[str, float]:
        """Counts, flat: accepted and rejected values, the share that `max_rejected_share` bounds, one key a rule."""
        counts = {f"rejected_{rule}": tally.count for rule, tally in self._rejected.items() if tally.count}
        touched = {**self._repaired, **self._filled}
        counts |= {f"repaired_{rule}": tally.count for rule, tally in touched.items() if tally.count}
        return {
            "accepted": self.accepted,
            "rejected": self.rejected,
            "rejected_share": self.rejected_share,
            **dict(sorted(counts.items())),
        }

    def summary(self, task: str, see: str) -> str:
        """The closing line, and where more stands: what came of the data, an example a rule, the first of the input.

        It begins with `warning:` where more than LOUD_SHARE of the values or rows were rejected, of the values were
        made up, or repaired in a doubtful way.
        """
        filled = self._filled.values()
        doubtful = [tally.count for tally in self._repaired.values() if tally.doubtful]
        lost = f"{self._lost()}: {rejections(self._rejected)}" if self._rejected else "0"
        parts = [f"{task}: {amount(self._units, self.accepted, self.rows)}", f"rejected {lost}"]
        parts += changes(self._repaired, filled)
        loud = (
            self.rejected_share > LOUD_SHARE
            or any(tally.count > LOUD_SHARE * tally.of for tally in filled)
            or max(doubtful, default=0) > LOUD_SHARE * self.accepted
        )
        more = f" — see {see}" if self._rejected or len(parts) > 2 else ""
        return ("warning: " if loud else "") + "; ".join(parts) + more

    def _lost(self) -> str:
        values = self.rejected, self.accepted + self.rejected
        return shares(self._units, values, (self._rejected_rows, self.rows + self._rejected_rows))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()
        self._parquet.close()
        (self.folder / f".{REJECTED_NAME}.partial").replace(self.folder / REJECTED_NAME)
        why = rejections(self._rejected)
        if isinstance(error, ValueError) and why:
            raise PreparationError(f"{error}; rejected so far: {why}") from error
        if kind is not None:
            return
        if not self.accepted:
            raise PreparationError(
                f"all of {self.rejected:,} {self._units.values} were rejected: {why}"
                if why
                else f"no {self._units.values} in the raw folder"
            )
        if self.rejected_share > self._max_rejected_share:
            raise PreparationError(
                f"rejected {self._lost()}, more than prepare.max_rejected_share allows "
                f"({self._max_rejected_share:.1%}): {why}"
            )
        if not self._described:
            raise PreparationError("prepare() never called describe(), which the network needs")
