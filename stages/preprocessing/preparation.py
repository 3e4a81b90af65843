"""The output of a task's `prepare`: sequences, rejections with their reason, a description of the data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from ..data.files import write_json
from ..data.prepared import DESCRIPTION_NAME
from ..data.store import FILE_NAME, SequenceWriter, schema

REJECTED_NAME = "rejected.parquet"
_REJECTED = pa.schema(
    {"id": pa.string(), "file": pa.string(), "rule": pa.string(), "reason": pa.string(), "content": pa.string()}
)
_CONTENT_LIMIT = 2000  # characters of a rejected record that are kept


class PreparationError(ValueError):
    """The raw data cannot be prepared; the message says which rule it broke."""


class Preparation:
    """The output folder of one preprocess stage: `sequences.arrow`, `description.json`, `rejected.parquet`.

    A context manager. On a clean end it checks that something was accepted and that at most `max_rejected_share` of the
    records (0 to 1) were rejected, and raises PreparationError otherwise.
    """

    def __init__(self, folder: Path, *, max_rejected_share: float) -> None:
        self.folder = folder
        self._max_rejected_share = max_rejected_share
        self._rejected: list[dict[str, str]] = []
        self._counts: Counter[str] = Counter()
        self._rejections = 0
        self._accepted: int | None = None
        self._writer: SequenceWriter | None = None
        self._described = False

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

    def reject(self, *, id: str, file: str, rule: str, reason: str, content: str = "", records: int = 1) -> None:
        """Set a record aside. `rule` is the short name it is counted under, `reason` says what was found and allowed.

        `records` is how many are lost with it, where one line stands for many, such as all days of a series.
        """
        if not re.fullmatch(r"[a-z][a-z0-9_]*", rule):
            raise ValueError(f"rule {rule!r}: allowed are lower-case letters, digits and underscores")
        row = {"id": id, "file": file, "rule": rule, "reason": reason, "content": content[:_CONTENT_LIMIT]}
        self._rejected.append(row)
        self._rejections += records
        self._counts[f"rejected_{rule}"] += records
        if len(self._rejected) >= 1000:
            self._flush()

    def repair(self, rule: str, count: int = 1) -> None:
        """Count records that were kept after a repair by a stated rule."""
        self._counts[f"repaired_{rule}"] += count

    def accept(self, records: int) -> None:
        """Count accepted records, in a task where a record is not a row of the store: a series has many days."""
        self._accepted = (self._accepted or 0) + records

    def describe(self, description: Mapping[str, Any]) -> None:
        """Write what the network and the registered model must know of the data: classes, vocabulary, scales."""
        write_json(self.folder / DESCRIPTION_NAME, description)
        self._described = True

    def _flush(self) -> None:
        if self._rejected:
            self._parquet.write_table(pa.Table.from_pylist(self._rejected, schema=_REJECTED))
            self._rejected.clear()

    @property
    def accepted(self) -> int:
        if self._accepted is not None:
            return self._accepted
        return self._writer.count if self._writer else 0

    def metrics(self) -> dict[str, float]:
        """Counts, flat: accepted and rejected records, their share, and one key a rule; per split what was accepted."""
        total = self.accepted + self._rejections
        return {
            "accepted": self.accepted,
            "rejected": self._rejections,
            "rejected_share": self._rejections / total if total else 0.0,
            **dict(sorted(self._counts.items())),
        }

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()
        self._parquet.close()
        (self.folder / f".{REJECTED_NAME}.partial").replace(self.folder / REJECTED_NAME)
        if kind is not None:
            return
        total = self.accepted + self._rejections
        rules = ", ".join(
            f"{rule.removeprefix('rejected_')} {count}"
            for rule, count in self._counts.most_common()
            if rule.startswith("rejected_")
        )
        if not self.accepted:
            raise PreparationError(f"no record was accepted of {total}: {rules or 'the raw folder held none'}")
        if self._rejections > self._max_rejected_share * total:
            raise PreparationError(
                f"{self._rejections} of {total} records rejected ({self._rejections / total:.1%}), more than "
                f"prepare.max_rejected_share allows ({self._max_rejected_share:.1%}): {rules}"
            )
        if not self._described:
            raise PreparationError("prepare() never called describe(); the network could not be built")
